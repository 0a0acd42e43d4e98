using System.Text.Json.Nodes;

// A read model as in many tutorials, which fails: an insert for revision 1, an update for the others, a delete.
public sealed class Naive(string folder) : IConsumer
{
    private readonly string path = Path.Combine(folder, "state.json");
    private List<JsonObject> table = Adapter.Load(Path.Combine(folder, "state.json")).ToList();

    public void Apply(IEnumerable<JsonObject> changes)
    {
        foreach (var change in changes)
        {
            bool IsIt(JsonObject other) => JsonNode.DeepEquals(other["key"], change["key"]);
            if ((bool)change["deleted"]!) table.RemoveAll(IsIt);
            else if ((long)change["revision"]! == 1) table.Add(Adapter.State(change));
            else table = table.Select(other => IsIt(other) ? Adapter.State(change) : other).ToList();
            Adapter.Save(path, table);
        }
    }

    public IEnumerable<JsonObject> Rows() => table.Select(row => row.DeepClone().AsObject());
}
