// TwoPhonesInJava.java
package readme;

import app.onlycare.signaling.Call;
import app.onlycare.signaling.CallType;
import app.onlycare.signaling.LinkStatus;
import app.onlycare.signaling.Phase;
import app.onlycare.signaling.Phone;
import app.onlycare.signaling.PhoneOptions;
import java.util.concurrent.CountDownLatch;

public final class TwoPhonesInJava {
    public static void main(String[] arguments) throws InterruptedException {
        String named = System.getenv("SIGNALING_URL");
        String url = named == null ? "http://127.0.0.1:3001" : named;
        Phone ana = new Phone(new PhoneOptions(url, "USR_1003", "device-of-ana", () -> "token-of-ana"));
        Phone bo = new Phone(new PhoneOptions(url, "USR_1004", "device-of-bo", () -> "token-of-bo"));
        CountDownLatch done = new CountDownLatch(1);

        bo.onIncoming(call -> {
            System.out.println("bo: " + call.getPeer() + " calls");
            call.answer(answered -> System.out.println("bo: answered " + answered.isOk()));
        });
        bo.onLink(link -> {
            if (link.getStatus() != LinkStatus.READY) return;
            Call call = ana.call("USR_1004", CallType.AUDIO);
            call.onState(state -> {
                if (state.getPhase() != Phase.ACTIVE) return;
                System.out.println("ana: they talk");
                call.hangUp(over -> done.countDown());
            });
        });
        ana.connect();
        bo.connect();
        done.await();
        ana.close();
        bo.close();
        System.exit(0);
    }
}
