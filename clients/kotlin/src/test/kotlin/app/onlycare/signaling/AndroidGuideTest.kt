package app.onlycare.signaling

import com.google.firebase.messaging.RemoteMessage
import guide.Backend
import guide.CallApp
import guide.Dialling
import guide.PushService
import java.io.File
import javax.xml.parsers.DocumentBuilderFactory
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import stubs.Device

/** The blocks of docs/android.md are files of these tests, and run: on a device of stubs, against a real node. */
class AndroidGuideTest {
    private val here = File(System.getProperty("vectors"), "../kotlin").canonicalFile
    private val guide = File(here, "../../docs/android.md").readText()

    private fun blocks(language: String) =
        Regex("(?ms)^```$language\\n(.*?)^```$").findAll(guide).map { it.groupValues[1] }.toList()

    @Test
    fun `each block is a file that compiles`() {
        val files = File(here, "src/test/kotlin/guide").listFiles()!!.associate { it.name to it.readText() }
        val named = blocks("kotlin").associateBy { it.lines().first().removePrefix("// ") }
        assertEquals(files.keys, named.keys)
        for ((name, text) in files) assertEquals(text, named[name], "$name is another than in docs/android.md")
    }

    @Test
    fun `the versions are those of the library, the manifest names what there is`() {
        val gradle = blocks("kotlin-gradle").single()
        val pom = File(here, "pom.xml").readText()
        val (group, artifact, version) = Regex("implementation\\(\"(app\\.onlycare):([^:]*):([^\"]*)").find(gradle)!!.destructured
        for (line in listOf("<groupId>$group<", "<artifactId>$artifact<", "<version>$version<")) assertTrue(line in pom, line)
        val manifest = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(blocks("xml").single().byteInputStream())
        for (tag in listOf("application", "activity", "service")) {
            val all = manifest.getElementsByTagName(tag)
            for (at in 0 until all.length) {
                val name = all.item(at).attributes.getNamedItem("android:name").nodeValue
                assertTrue(File(here, "src/test/kotlin/guide/${name.removePrefix(".")}.kt").exists(), name)
            }
        }
    }

    @Test
    fun `a push and a ring, the answer from the notification, the talk, the end, and a call back`() = runBlocking {
        Stage().use { stage ->
            val node = stage.node("G")
            val ana = stage.phone(node.url)
            ana.connect()
            Backend.signalingUrl = node.url
            Backend.userId = "USR_guide"
            Backend.freshToken = { "token-of-USR_guide" }
            val app = CallApp()
            Device.begin(app)
            eventually("both are ready") { ana.link.value.status == LinkStatus.READY && app.phone.link.value.status == LinkStatus.READY }
            assertEquals(1, Device.settings.size)

            val call = ana.call(
                "USR_guide", CallType.VIDEO,
                CallOptions(channelName = "channel-1", agoraToken = "006a", further = mapOf("agoraAppId" to "app-1")),
            )
            val push = mapOf("type" to "incoming_call", "callId" to call.id, "callerId" to ana.userId, "timestamp" to "${System.currentTimeMillis()}")
            PushService().onMessageReceived(RemoteMessage(push))
            eventually("it rings") { Device.notifications.size == 1 }
            val ring = Device.notifications.values.single()
            ring.fullScreen!!.send()
            eventually("the ring screen is there") { Device.activities.size == 1 }
            // The push may be first, without the channel: the socket adds it.
            eventually("the ring is complete") { app.call(call.id)?.fields?.get("channelName") == "channel-1" }
            ring.answer!!.send()
            eventually("they talk", { "${app.phone.log}" }) { Device.joined.toList() == listOf("app-1 channel-1 006a") }
            assertEquals(Phase.ACTIVE, call.state.value.phase)
            assertEquals(128, Device.services.single().foreground)
            assertTrue(Device.focused && Device.audioMode == 3 && Device.notifications.isEmpty())
            call.hangUp()
            eventually("all is put away") { Device.activities.isEmpty() && Device.services.isEmpty() && Device.joined.isEmpty() }
            assertTrue(!Device.focused && Device.audioMode == 0)

            launch { ana.incoming.collect { it.answer() } }.also { answering ->
                Backend.createCall = { Backend.Created("CALL_${System.nanoTime()}", "channel-2", "own", "his") }
                val back = Dialling.dial(app, ana.userId, CallType.AUDIO)
                eventually("they talk again") { Device.joined.toList() == listOf(" channel-2 own") }
                back.hangUp()
                eventually("it is over") { Device.services.isEmpty() }
                answering.cancel()
            }

            val declined = ana.call("USR_guide", CallType.AUDIO)
            eventually("it rings again") { Device.notifications.size == 1 }
            Device.notifications.values.single().decline!!.send()
            eventually("it was declined") { declined.state.value.reason == EndReason.REJECTED }
            eventually("nothing is shown") { Device.notifications.isEmpty() && Device.activities.isEmpty() }
            assertNull(app.call(declined.id))
            app.phone.close()
        }
    }
}
