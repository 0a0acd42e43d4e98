import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * Lets {@code lab check --exec "java -cp build Readmodel"} try a consumer: lines of JSON, on standard input and output.
 *
 * <p>A consumer is made with a folder. What it keeps there outlives a crash: made with the same folder again, it must go
 * on from there.
 */
final class Adapter {
    /** What a change has besides the key and the state of its record. */
    static final List<String> META =
            List.of("position", "revision", "deleted", "event", "committed_at", "transaction", "transaction_size");

    interface Consumer {
        void apply(Iterable<Map<String, Object>> changes) throws Exception;

        List<Map<String, Object>> rows() throws Exception;
    }

    static void serve(Function<Path, Consumer> make) throws IOException {
        // What the consumer prints must not get between the answers.
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(System.err);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Consumer consumer = null;
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<String, Object> request = Json.object(line);
            Map<String, Object> answer = new LinkedHashMap<>(Map.of("id", request.get("id"), "ok", true));
            try {
                switch ((String) request.get("do")) {
                    case "init" -> {
                        consumer = make.apply(Path.of((String) request.get("folder")));
                        answer.putAll(Map.of("keeps", true, "tears", true));
                    }
                    case "apply" -> {
                        List<Map<String, Object>> changes = Json.objects(request.get("changes"));
                        Long after = (Long) request.get("die_after");
                        consumer.apply(() -> dying(changes, after == null ? -1 : after));
                    }
                    case "rows" -> answer.put("rows", consumer.rows());
                    default -> throw new IllegalArgumentException("there is no request " + request.get("do"));
                }
            } catch (Exception error) {
                error.printStackTrace();
                answer.remove("ok");
                answer.put("error", error.toString());
            }
            answers.println(Json.text(answer));
        }
    }

    /** Hands the changes over one by one; the process ends itself after so many of them, if it is to. */
    private static Iterator<Map<String, Object>> dying(List<Map<String, Object>> changes, long after) {
        Iterator<Map<String, Object>> rest = changes.iterator();
        return new Iterator<>() {
            private long given = 0;

            @Override
            public boolean hasNext() {
                if (given == after) Runtime.getRuntime().halt(137);
                return rest.hasNext();
            }

            @Override
            public Map<String, Object> next() {
                given++;
                return rest.next();
            }
        };
    }

    /** Writes a file whole or not at all, whenever the process is killed. */
    static void save(Path path, Object value) throws IOException {
        Path fresh = path.resolveSibling(path.getFileName() + ".new");
        Files.writeString(fresh, Json.text(value));
        Files.move(fresh, path, StandardCopyOption.ATOMIC_MOVE);
    }
}
