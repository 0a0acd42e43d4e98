import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** As much of JSON as the adapter needs, so that it needs no library: with Jackson or Gson, leave this out. */
final class Json {
    private final String text;
    private int at = 0;

    private Json(String text) {
        this.text = text;
    }

    static Object value(String text) {
        return new Json(text).value();
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> object(String text) {
        return (Map<String, Object>) value(text);
    }

    @SuppressWarnings("unchecked")
    static List<Map<String, Object>> objects(Object list) {
        return (List<Map<String, Object>>) list;
    }

    private char next() {
        while (Character.isWhitespace(text.charAt(at))) at++;
        return text.charAt(at);
    }

    private boolean take(char sign) {
        boolean there = next() == sign;
        if (there) at++;
        return there;
    }

    private Object value() {
        char sign = next();
        if (sign == '"') return string();
        if (take('{')) {
            Map<String, Object> found = new LinkedHashMap<>();
            while (!take('}')) {
                next();
                String name = string();
                take(':');
                found.put(name, value());
                take(',');
            }
            return found;
        }
        if (take('[')) {
            List<Object> found = new ArrayList<>();
            while (!take(']')) {
                found.add(value());
                take(',');
            }
            return found;
        }
        int from = at;
        while (at < text.length() && ",]} ".indexOf(text.charAt(at)) < 0) at++;
        String word = text.substring(from, at);
        return switch (word) {
            case "true" -> true;
            case "false" -> false;
            case "null" -> null;
            default -> number(word);
        };
    }

    /** Integers are long, or BigInteger beyond 64 bits: a double would round those beyond 2^53. */
    private static Object number(String word) {
        if (word.matches("-?\\d{1,18}")) return Long.valueOf(word);
        if (!word.matches("-?\\d+")) return Double.valueOf(word);
        BigInteger whole = new BigInteger(word);
        return whole.bitLength() < 64 ? (Object) whole.longValueExact() : whole;
    }

    private String string() {
        StringBuilder found = new StringBuilder();
        for (at++; text.charAt(at) != '"'; at++) {
            char sign = text.charAt(at);
            if (sign == '\\') {
                sign = text.charAt(++at);
                if (sign == 'u') {
                    sign = (char) Integer.parseInt(text.substring(at + 1, at + 5), 16);
                    at += 4;
                } else if ("bfnrt".indexOf(sign) >= 0) {
                    sign = "\b\f\n\r\t".charAt("bfnrt".indexOf(sign));
                }
            }
            found.append(sign);
        }
        at++;
        return found.toString();
    }

    static String text(Object value) {
        if (value instanceof Map<?, ?> map) {
            List<String> parts = new ArrayList<>();
            map.forEach((name, inner) -> parts.add(text(name) + ":" + text(inner)));
            return "{" + String.join(",", parts) + "}";
        }
        if (value instanceof List<?> list) return "[" + String.join(",", list.stream().map(Json::text).toList()) + "]";
        if (!(value instanceof String)) return String.valueOf(value);
        StringBuilder found = new StringBuilder("\"");
        for (char sign : ((String) value).toCharArray()) {
            if (sign == '"' || sign == '\\') found.append('\\').append(sign);
            else if (sign < ' ' || sign > '~') found.append(String.format("\\u%04x", (int) sign));
            else found.append(sign);
        }
        return found.append('"').toString();
    }
}
