import io.nats.client.Connection;
import io.nats.client.Nats;
import io.nats.client.impl.Headers;
import java.time.Duration;

public class Recipe {
    public static void main(String[] args) throws Exception {
        var env = System.getenv();
        var job = "tenant." + env.get("MILEPOST_TENANT") + ".job." + env.get("MILEPOST_JOB");
        try (Connection nc = Nats.connect(env.get("NATS_URL"))) {
            tell(nc, job, "{'status':'running','name':'Import in Java'}");
            for (int rows = 1000; rows <= 5000; rows += 1000) {
                tell(nc, job, "{'nodeId':1,'nodeName':'DB Input','status':'running','rowCount':" + rows
                        + ",'message':'Processing rows...'}");
                Thread.sleep(100); // the work
            }
            tell(nc, job, "{'nodeId':1,'status':'completed'}");
            tell(nc, job, "{'kind':'log','message':'a row had no date'}");

            var once = new Headers().put("Nats-Expected-Last-Subject-Sequence", "0");
            var end = "{\"status\":\"completed\"}".getBytes();
            nc.requestWithTimeout(job + ".end.1", once, end, Duration.ofSeconds(5)).get();
        }
    }

    static void tell(Connection nc, String job, String event) {
        nc.publish(job + ".progress", event.replace('\'', '"').getBytes());
    }
}
