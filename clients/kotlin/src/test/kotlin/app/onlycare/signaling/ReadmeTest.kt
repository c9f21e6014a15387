package app.onlycare.signaling

import java.io.File
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.TimeUnit
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import readme.Calls
import readme.Screens

/** The blocks of README.md are files of these tests, word for word, and are run. So are the examples of docstrings. */
class ReadmeTest {
    private val here = File(System.getProperty("vectors"), "../kotlin").canonicalFile
    private val readme = File(here, "README.md").readText()

    private fun blocks(language: String, text: String): List<String> =
        Regex("```$language\\n(.*?)```", RegexOption.DOT_MATCHES_ALL).findAll(text).map { it.groupValues[1] }.toList()

    @Test
    fun `each block of the README is a file that compiles`() {
        val files = listOf("kotlin/readme", "java/readme").flatMap { File(here, "src/test/$it").listFiles()!!.toList() }
            .map { it.readText() }
        val blocks = blocks("kotlin", readme) + blocks("java", readme)
        assertEquals(3, blocks.size)
        for (block in blocks) assertTrue(block in files, "not a file of src/test:\n$block")
        val pom = File(here, "pom.xml").readText()
        for (tag in listOf("groupId", "artifactId", "version")) {
            val line = blocks("xml", readme).single().lines().single { "<$tag>" in it }.trim()
            assertTrue(line in pom, line)
        }
    }

    @Test
    fun `the program of the README has two phones calling`() {
        val lines = run("readme.TwoPhonesKt")
        assertEquals(listOf("ana: ACTIVE", "ana: ENDED, HUNG_UP"), lines.filter { it.startsWith("ana: ") })
        assertTrue("bo: USR_1001 calls, VIDEO" in lines, "$lines")
    }

    @Test
    fun `the program in Java has two phones calling`() {
        val lines = run("readme.TwoPhonesInJava")
        assertTrue("bo: USR_1003 calls" in lines && "ana: they talk" in lines, "$lines")
    }

    @Test
    fun `the class of the README rings, talks, is pushed and asks for a login`() = runBlocking {
        val shown = CopyOnWriteArrayList<String>()
        val rang = CopyOnWriteArrayList<Call>()
        var token: String? = "token-of-USR_readme"
        val screens = object : Screens {
            override fun ring(call: Call) = Unit.also { rang += call }
            override fun offline(away: Boolean) = Unit.also { shown += if (away) "away" else "there" }
            override fun login() = Unit.also { shown += "login" }
            override fun talk(channel: Any?, token: Any?) = Unit.also { shown += "$channel $token" }
            override fun text(text: String) = Unit.also { shown += text }
            override fun close() = Unit.also { shown += "closed" }
        }
        Stage().use { stage ->
            val node = stage.node("S")
            val scope = CoroutineScope(Dispatchers.Default)
            val calls = Calls(node.url, "USR_readme", "installation-1", { token }, scope, screens)
            val caller = stage.phone(node.url).also(Phone::connect)
            for (phone in listOf(calls.phone, caller)) eventually("it is ready") { phone.link.value.status == LinkStatus.READY }
            calls.cameBack()
            val call = caller.call("USR_readme", CallType.VIDEO, CallOptions(channelName = "channel-1", agoraToken = "006a"))
            eventually("it rings") { rang.size == 1 }
            scope.launch { calls.show(rang.single()) }
            assertEquals(Outcome.OK, rang.single().answer())
            eventually("they talk", { "$shown" }) { "channel-1 006a" in shown }
            call.hangUp()
            eventually("the screen is closed", { "$shown" }) { "closed" in shown }
            assertTrue(calls.pushed(mapOf("type" to "incoming_call", "callId" to "CALL_pushed", "callerId" to caller.userId)))
            eventually("the push rings") { rang.size == 2 }
            calls.phone.close()
            token = null
            calls.phone.connect()
            eventually("the login is shown", { "$shown" }) { "login" in shown }
            scope.cancel()
            calls.phone.close()
        }
    }

    @Test
    fun `each example of a docstring compiles`() {
        fun words(text: String) = text.lines().map(String::trim).filter { it != "" }.joinToString("\n")
        val compiled = words(File(here, "src/test/kotlin/readme/Examples.kt").readText())
        val sources = File(here, "src/main/kotlin").walk().filter(File::isFile).map { it.readText() }
        val examples = sources.flatMap { blocks("kotlin", it.replace(Regex("(?m)^ *\\* ?"), "")) }.toList()
        assertTrue(examples.size >= 5, "${examples.size} examples")
        for (example in examples) assertTrue(words(example) in compiled, "not in Examples.kt:\n$example")
    }

    private fun run(main: String): List<String> = Stage().use { stage ->
        val node = stage.node("R")
        val classes = System.getProperty("surefire.test.class.path") ?: System.getProperty("java.class.path")
        val java = File(System.getProperty("java.home"), "bin/java").path
        val output = File.createTempFile("readme", "output")
        val builder = ProcessBuilder(java, "-XX:TieredStopAtLevel=1", "-cp", classes, main)
        builder.environment()["SIGNALING_URL"] = node.url
        val process = builder.redirectErrorStream(true).redirectOutput(output).start()
        val ended = process.waitFor(60, TimeUnit.SECONDS)
        process.destroyForcibly()
        val lines = output.readLines()
        output.delete()
        assertTrue(ended && process.exitValue() == 0, lines.joinToString("\n"))
        lines
    }
}
