using System.Text.Json.Nodes;

// A read model that passes: the highest revision of each key, tombstones included, in one file.
public sealed class ReadModel(string folder) : IConsumer
{
    private readonly string path = Path.Combine(folder, "state.json");
    private List<JsonObject> last = Adapter.Load(Path.Combine(folder, "state.json")).ToList();

    // A batch is written whole, or not at all.
    public void Apply(IEnumerable<JsonObject> changes)
    {
        var staged = new List<JsonObject>(last);
        foreach (var change in changes)
        {
            var at = staged.FindIndex(known => JsonNode.DeepEquals(known["key"], change["key"]));
            if (at < 0) staged.Add(change);
            else if ((long)change["revision"]! > (long)staged[at]["revision"]!) staged[at] = change;
        }
        Adapter.Save(path, staged);
        last = staged;
    }

    public IEnumerable<JsonObject> Rows() => last.Where(change => !(bool)change["deleted"]!).Select(Adapter.State);
}
