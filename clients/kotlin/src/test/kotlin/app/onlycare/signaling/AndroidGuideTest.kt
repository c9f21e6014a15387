package app.onlycare.signaling

import android.app.Activity
import android.content.Intent
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import com.google.firebase.messaging.RemoteMessage
import guide.Backend
import guide.CallActivity
import guide.CallApp
import guide.Dialling
import guide.MainActivity
import guide.PushService
import java.io.File
import javax.xml.parsers.DocumentBuilderFactory
import kotlinx.coroutines.cancel
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
        val launched = manifest.getElementsByTagName("category").item(0)
        assertEquals("android.intent.category.LAUNCHER", launched?.attributes?.getNamedItem("android:name")?.nodeValue)
        val activity = launched.parentNode.parentNode
        assertEquals(".MainActivity", activity.attributes.getNamedItem("android:name").nodeValue)
    }

    private fun views(activity: Activity) = (activity.content as LinearLayout).children

    private fun press(activity: Activity, text: String) =
        views(activity).filterIsInstance<Button>().single { it.text == text }.click()

    private fun write(activity: Activity, text: String) {
        views(activity).filterIsInstance<EditText>().single().text = text
    }

    @Test
    fun `a first start asks for a login, and by buttons one logs in, calls, sees the other and hangs up`() = runBlocking {
        Stage().use { stage ->
            val node = stage.node("F")
            val ana = stage.phone(node.url)
            ana.onIncoming { call -> call.answer {} }
            ana.connect()
            eventually("she is ready") { ana.link.value.status == LinkStatus.READY }
            Backend.signalingUrl = node.url
            Backend.logOut()
            Backend.createCall = { Backend.Created("CALL_${System.nanoTime()}", "app-5", "channel-5", "own", "his") }
            val app = CallApp()
            Device.begin(app)
            Device.open(Intent(app, MainActivity::class.java))
            val main = Device.activities.single()
            eventually("it asks for a login", { "${main.title}" }) { main.title == "Log in" }
            write(main, "USR_first")
            press(main, "Log in")
            eventually("it is connected", { "${main.title} ${app.phone.log}" }) { main.title == "USR_first" }
            write(main, ana.userId)
            press(main, "Call")
            eventually("they talk", { "${app.phone.log}" }) { Device.joined.toList() == listOf("app-5 channel-5 own") }
            eventually("she is seen") { Device.pictures.toList() == listOf(7) }
            press(Device.activities.single { it is CallActivity }, "Hang up")
            eventually("all is put away") { Device.activities.toList() == listOf(main) && Device.services.isEmpty() && Device.joined.isEmpty() }
            eventually("it is over for her") { ana.calls.value.isEmpty() }
            eventually("nothing of the call is kept") { Device.settings.size == 1 }
            main.finish()
            app.scope.cancel()
            app.phone.close()
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
            assertTrue(ring.timeoutMs!! in 23_000L..33_000L, "it ends with the ring, whatever becomes of the process")
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
                Backend.createCall = { Backend.Created("CALL_${System.nanoTime()}", "app-2", "channel-2", "own", "his") }
                val back = Dialling.dial(app, ana.userId, CallType.AUDIO)
                eventually("they talk again") { Device.joined.toList() == listOf("app-2 channel-2 own") }
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
            eventually("nothing of a call is kept", { "${Device.settings}" }) { Device.settings.size == 1 }
            app.phone.close()
        }
    }

    @Test
    fun `a process that was killed in a call comes back into it, as callee and as caller, and another device does not`() = runBlocking {
        Stage().use { stage ->
            val node = stage.node("H")
            val ana = stage.phone(node.url)
            ana.onIncoming { call -> call.answer {} }
            ana.connect()
            Backend.signalingUrl = node.url
            Backend.userId = "USR_again"
            Backend.freshToken = { "token-of-USR_again" }
            Backend.createCall = { Backend.Created("CALL_${System.nanoTime()}", "app-4", "channel-4", "own", "his") }
            suspend fun begin() = CallApp().also { app ->
                Device.begin(app)
                eventually("it is ready", { "${app.phone.log}" }) { app.phone.link.value.status == LinkStatus.READY }
            }
            suspend fun again(killed: CallApp): CallApp {
                killed.scope.cancel()
                killed.phone.close()
                eventually("it is gone") { killed.phone.link.value.status == LinkStatus.IDLE }
                return begin()
            }
            suspend fun talks(where: String) =
                eventually("they talk", { "in ${Device.joined}" }) { Device.joined.toList() == listOf(where) && Device.services.size == 1 }
            eventually("she is ready") { ana.link.value.status == LinkStatus.READY }
            var app = begin()

            val call = ana.call(
                "USR_again", CallType.VIDEO,
                CallOptions(channelName = "channel-3", agoraToken = "007", further = mapOf("agoraAppId" to "app-3")),
            )
            eventually("it rings") { Device.notifications.size == 1 }
            Device.notifications.values.single().answer!!.send()
            talks("app-3 channel-3 007")
            app = again(app)
            talks("app-3 channel-3 007")
            assertEquals(1, Device.activities.size)
            assertEquals(Phase.ACTIVE, call.state.value.phase)
            call.hangUp()
            eventually("all is put away") { Device.activities.isEmpty() && Device.services.isEmpty() && Device.joined.isEmpty() }

            val id = Dialling.dial(app, ana.userId, CallType.AUDIO).id
            talks("app-4 channel-4 own")
            app = again(app)
            talks("app-4 channel-4 own")

            app.scope.cancel()
            Device.settings.clear()
            val tablet = begin()
            eventually("the other device knows of the call") { tablet.call(id) != null }
            assertEquals(Outcome.OK, tablet.call(id)!!.hangUp())
            eventually("it is over") { ana.calls.value.isEmpty() }
            assertTrue(Device.joined.isEmpty() && Device.services.isEmpty(), "it stayed out of the call")
            listOf(app, tablet).forEach { it.phone.close() }
        }
    }
}
