package app.onlycare.signaling;

import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;

/** What an app in Java says and hears. */
public final class FromJava {
    public final List<String> events = new CopyOnWriteArrayList<>();

    public FromJava(Phone phone) {
        phone.onAppEvent((name, data) -> events.add(name + " " + data));
    }

    public Outcome askVideo(Call call) throws Exception {
        CompletableFuture<Outcome> done = new CompletableFuture<>();
        call.askVideo(done::complete);
        return done.get(40, TimeUnit.SECONDS);
    }

    public Outcome toAudio(Call call) throws Exception {
        CompletableFuture<Outcome> done = new CompletableFuture<>();
        call.toAudio(done::complete);
        return done.get(40, TimeUnit.SECONDS);
    }
}
