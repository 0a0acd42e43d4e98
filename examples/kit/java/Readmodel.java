import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A read model that passes: the highest revision of each key, tombstones included, in one file.
 *
 * <p>javac -d build examples/kit/java/*.java, then lab check --exec "java -cp build Readmodel".
 */
final class Readmodel implements Adapter.Consumer {
    private final Path path;
    private Map<Object, Map<String, Object>> last = new LinkedHashMap<>();

    Readmodel(Path folder) {
        path = folder.resolve("state.json");
        try {
            if (!Files.exists(path)) return;
            for (var change : Json.objects(Json.value(Files.readString(path)))) last.put(change.get("key"), change);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** A batch is written whole, or not at all. */
    @Override
    public void apply(Iterable<Map<String, Object>> changes) throws IOException {
        Map<Object, Map<String, Object>> staged = new LinkedHashMap<>(last);
        for (var change : changes) {
            var known = staged.get(change.get("key"));
            if (known == null || (Long) change.get("revision") > (Long) known.get("revision")) {
                staged.put(change.get("key"), change);
            }
        }
        Adapter.save(path, new ArrayList<>(staged.values()));
        last = staged;
    }

    @Override
    public List<Map<String, Object>> rows() {
        List<Map<String, Object>> live = new ArrayList<>();
        for (var change : last.values()) {
            if ((Boolean) change.get("deleted")) continue;
            Map<String, Object> row = new LinkedHashMap<>(change);
            row.keySet().removeAll(Adapter.META);
            live.add(row);
        }
        return live;
    }

    public static void main(String[] arguments) throws IOException {
        Adapter.serve(Readmodel::new);
    }
}
