// Phones of io.socket:socket.io-client with the options of the deployed app, told what to do by lines of JSON on stdin; what
// happens goes to stdout the same way. Run as it stands: java -cp <jars> Phone.java
import io.socket.client.Ack;
import io.socket.client.IO;
import io.socket.client.Manager;
import io.socket.client.Socket;
import io.socket.engineio.client.Transport;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import okhttp3.Dispatcher;
import okhttp3.OkHttpClient;
import org.json.JSONArray;
import org.json.JSONObject;

public class Phone {
    static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    static final Map<Integer, Socket> PHONES = new ConcurrentHashMap<>();
    static final Map<Integer, Ack> ANSWERS = new ConcurrentHashMap<>();
    static final AtomicInteger ASKED = new AtomicInteger();

    public static void main(String[] arguments) throws Exception {
        // OkHttp has five requests at a time to one host, which is no limit for one phone and is one for many.
        Dispatcher dispatcher = new Dispatcher();
        dispatcher.setMaxRequests(4096);
        dispatcher.setMaxRequestsPerHost(4096);
        OkHttpClient http = new OkHttpClient.Builder().dispatcher(dispatcher).readTimeout(1, TimeUnit.MINUTES).build();
        IO.setDefaultOkHttpCallFactory(http);
        IO.setDefaultOkHttpWebSocketFactory(http);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            JSONObject told = new JSONObject(line);
            int phone = told.getInt("phone");
            switch (told.getString("do")) {
                case "open" -> open(phone, told);
                case "emit" -> emit(phone, told);
                case "answer" -> ANSWERS.remove(told.getInt("answer")).call(all(told.getJSONArray("args")));
                case "settle" -> PHONES.get(phone).io().reconnection(false);
                case "close" -> PHONES.get(phone).disconnect();
                default -> throw new IllegalArgumentException(line);
            }
        }
        System.exit(0);
    }

    static void open(int phone, JSONObject told) throws Exception {
        IO.Options options = new IO.Options();
        JSONArray transports = told.getJSONArray("transports");
        options.transports = new String[transports.length()];
        for (int at = 0; at < transports.length(); at++) options.transports[at] = transports.getString(at);
        options.auth = new HashMap<>();
        JSONObject auth = told.getJSONObject("auth");
        for (Iterator<?> names = auth.keys(); names.hasNext(); ) {
            String name = (String) names.next();
            options.auth.put(name, auth.getString(name));
        }
        options.forceNew = true;
        options.reconnection = true;
        options.reconnectionAttempts = 5;
        options.reconnectionDelay = 1000;
        options.reconnectionDelayMax = 5000;
        options.timeout = 20_000;
        Socket socket = IO.socket(URI.create(told.getString("url")), options);
        PHONES.put(phone, socket);
        socket.onAnyIncoming(heard -> heard(phone, heard));
        socket.on(Socket.EVENT_CONNECT, none -> {
            Object engine = engine(socket.io());
            ((io.socket.engineio.client.Socket) engine).on("upgrade", to ->
                say(phone, "upgrade", "transport", ((Transport) to[0]).name));
            say(phone, "connect", "transport", transport(engine));
        });
        socket.on(Socket.EVENT_DISCONNECT, reason -> say(phone, "disconnect", "reason", String.valueOf(reason[0])));
        // The server's word comes as an object, a transport's trouble as an exception.
        socket.on(Socket.EVENT_CONNECT_ERROR, error -> {
            boolean isFinal = error[0] instanceof JSONObject;
            String message = isFinal ? ((JSONObject) error[0]).optString("message") : String.valueOf(error[0]);
            say(phone, "connect_error", "message", message, "final", isFinal);
        });
        socket.connect();
    }

    static void heard(int phone, Object[] heard) {
        JSONArray args = new JSONArray();
        Object answer = JSONObject.NULL;
        for (int at = 1; at < heard.length; at++) {
            if (heard[at] instanceof Ack ack) {
                int number = ASKED.incrementAndGet();
                ANSWERS.put(number, ack);
                answer = number;
            } else {
                args.put(heard[at] == null ? JSONObject.NULL : heard[at]);
            }
        }
        say(phone, "event", "event", heard[0], "args", args, "answer", answer);
    }

    static void emit(int phone, JSONObject told) throws Exception {
        Object[] args = all(told.getJSONArray("args"));
        Socket socket = PHONES.get(phone);
        if (told.isNull("ack")) {
            socket.emit(told.getString("event"), args);
            return;
        }
        int ack = told.getInt("ack");
        socket.emit(told.getString("event"), args, given -> {
            JSONArray answered = new JSONArray();
            for (Object one : given) answered.put(one == null ? JSONObject.NULL : one);
            say(phone, "ack", "ack", ack, "args", answered);
        });
    }

    static Object[] all(JSONArray array) throws Exception {
        Object[] all = new Object[array.length()];
        for (int at = 0; at < all.length; at++) all[at] = array.get(at);
        return all;
    }

    static void say(int phone, String is, Object... pairs) {
        try {
            JSONObject line = new JSONObject().put("phone", phone).put("is", is);
            for (int at = 0; at < pairs.length; at += 2) line.put((String) pairs[at], pairs[at + 1]);
            OUT.println(line);
        } catch (Exception impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    static Object engine(Manager manager) {
        return field(Manager.class, "engine", manager);
    }

    static String transport(Object engine) {
        return ((Transport) field(io.socket.engineio.client.Socket.class, "transport", engine)).name;
    }

    static Object field(Class<?> type, String name, Object of) {
        try {
            Field field = type.getDeclaredField(name);
            field.setAccessible(true);
            return field.get(of);
        } catch (ReflectiveOperationException missing) {
            throw new IllegalStateException(missing);
        }
    }
}
