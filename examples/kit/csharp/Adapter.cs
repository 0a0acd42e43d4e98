using System.Diagnostics;
using System.Text.Json.Nodes;

// A consumer is made with a folder. What it keeps there outlives a crash: made with the same folder again, it must go on
// from there.
public interface IConsumer
{
    void Apply(IEnumerable<JsonObject> changes);

    IEnumerable<JsonObject> Rows();
}

// Lets `lab check --exec "dotnet run --project examples/kit/csharp -- readmodel"` try a consumer: lines of JSON, on
// standard input and output. JsonNode keeps numbers in all their digits.
public static class Adapter
{
    private static readonly string[] Meta =
        ["position", "revision", "deleted", "event", "committed_at", "transaction", "transaction_size"];

    public static void Serve(Func<string, IConsumer> open)
    {
        // What the consumer prints must not get between the answers.
        var answers = new StreamWriter(Console.OpenStandardOutput()) { AutoFlush = true, NewLine = "\n" };
        Console.SetOut(Console.Error);
        using var lines = new StreamReader(Console.OpenStandardInput());
        IConsumer? consumer = null;
        while (lines.ReadLine() is { } line)
        {
            var request = JsonNode.Parse(line)!.AsObject();
            var answer = new JsonObject { ["id"] = (int)request["id"]!, ["ok"] = true };
            try
            {
                switch ((string)request["do"]!)
                {
                    case "init":
                        consumer = open((string)request["folder"]!);
                        answer["keeps"] = true;
                        answer["tears"] = true;
                        break;
                    case "apply":
                        consumer!.Apply(Dying(request["changes"]!.AsArray(), (int?)request["die_after"]));
                        break;
                    case "rows":
                        answer["rows"] = new JsonArray(consumer!.Rows().ToArray<JsonNode>());
                        break;
                    default:
                        throw new ArgumentException($"there is no request {request["do"]}");
                }
            }
            catch (Exception error)
            {
                Console.Error.WriteLine(error);
                answer = new JsonObject { ["id"] = (int)request["id"]!, ["error"] = $"{error.GetType().Name}: {error.Message}" };
            }
            answers.WriteLine(answer.ToJsonString());
        }
    }

    // Hands the changes over one by one; the process ends itself after so many of them, if it is to.
    private static IEnumerable<JsonObject> Dying(JsonArray changes, int? after)
    {
        var given = 0;
        foreach (var change in changes)
        {
            if (given++ == after) Process.GetCurrentProcess().Kill();
            yield return change!.DeepClone().AsObject();
        }
        if (after is not null) Process.GetCurrentProcess().Kill();
    }

    // A change without what isn't part of the record's state.
    public static JsonObject State(JsonObject change)
    {
        var row = change.DeepClone().AsObject();
        foreach (var name in Meta) row.Remove(name);
        return row;
    }

    public static IEnumerable<JsonObject> Load(string path) =>
        File.Exists(path) ? JsonNode.Parse(File.ReadAllText(path))!.AsArray().Select(row => row!.DeepClone().AsObject()) : [];

    // Writes a file whole or not at all, whenever the process is killed.
    public static void Save(string path, IEnumerable<JsonObject> rows)
    {
        File.WriteAllText(path + ".new", new JsonArray(rows.Select(row => row.DeepClone()).ToArray()).ToJsonString());
        File.Move(path + ".new", path, overwrite: true);
    }
}
