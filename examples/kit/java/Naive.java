import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A read model as in many tutorials, which fails: an insert for revision 1, an update for the others, a delete.
 *
 * <p>javac -d build examples/kit/java/*.java, then lab check --exec "java -cp build Naive".
 */
final class Naive implements Adapter.Consumer {
    private final Path path;
    private final List<Map<String, Object>> table = new ArrayList<>();

    Naive(Path folder) {
        path = folder.resolve("state.json");
        try {
            if (Files.exists(path)) table.addAll(Json.objects(Json.value(Files.readString(path))));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    @Override
    public void apply(Iterable<Map<String, Object>> changes) throws IOException {
        for (var change : changes) {
            Map<String, Object> row = new LinkedHashMap<>(change);
            row.keySet().removeAll(Adapter.META);
            if ((Boolean) change.get("deleted")) {
                table.removeIf(other -> other.get("key").equals(row.get("key")));
            } else if ((Long) change.get("revision") == 1) {
                table.add(row);
            } else {
                table.replaceAll(other -> other.get("key").equals(row.get("key")) ? row : other);
            }
            Adapter.save(path, table);
        }
    }

    @Override
    public List<Map<String, Object>> rows() {
        return table;
    }

    public static void main(String[] arguments) throws IOException {
        Adapter.serve(Naive::new);
    }
}
