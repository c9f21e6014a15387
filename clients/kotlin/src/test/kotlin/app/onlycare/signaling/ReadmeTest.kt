package app.onlycare.signaling

import java.io.File
import java.nio.file.Files
import java.util.Collections
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.TimeUnit
import java.util.jar.JarEntry
import java.util.jar.JarOutputStream
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
        val (dependency, project) = blocks("xml", readme).map { block -> block.lines().map(String::trim).filter { it != "" } }
        for (tag in listOf("groupId", "artifactId", "version")) {
            val line = dependency.single { "<$tag>" in it }
            assertTrue(line in pom, line)
        }
        assertTrue(Collections.indexOfSubList(project, dependency) > 0, "$project")
        assertTrue("<version>${Regex("<kotlin.version>(.*)<").find(pom)!!.groupValues[1]}</version>" in project, "$project")
    }

    /** In an empty folder, by the commands of the README; what was installed is the library as it is compiled here. */
    @Test
    fun `the project of the README is built and run as it stands`() {
        val folder = Files.createTempDirectory("readme").toFile()
        try {
            File(folder, "pom.xml").writeText(blocks("xml", readme)[1])
            val programs = listOf(blocks("kotlin", readme)[0], blocks("java", readme)[0])
            for (program in programs) {
                File(folder, "src").mkdir()
                File(folder, "src/${program.lines().first().removePrefix("// ")}").writeText(program)
            }
            val repository = repositoryIn(folder)
            val inKotlin = blocks("sh", readme)[1]
            val inJava = inKotlin.lines().single { "TwoPhonesKt" in it }.replace("TwoPhonesKt", "TwoPhonesInJava")
            Stage().use { stage ->
                val url = stage.node("M").url
                fun play(options: String): Pair<Int, List<String>> {
                    File(folder, ".mvn").mkdir()
                    File(folder, ".mvn/maven.config").writeText("-B\n-Dkotlin.compiler.daemon=false\n-Dmaven.repo.local=$repository\n$options")
                    return shell(folder, "$inKotlin\n$inJava", url)
                }
                val offline = play("-o\n")
                val missing = offline.second.any { "offline mode" in it || "has not been downloaded from it before" in it }
                val (code, lines) = if (missing) play("") else offline
                assertEquals(0, code, (offline.second + lines).joinToString("\n"))
                assertTrue(lines.containsAll(listOf("ana: ACTIVE", "ana: ENDED, HUNG_UP", "ana: they talk")), lines.joinToString("\n"))
            }
        } finally {
            // Which does not follow links.
            Files.walk(folder.toPath()).use { paths -> paths.sorted(Comparator.reverseOrder()).forEach(Files::delete) }
        }
    }

    /** The local repository of Maven by links, and in it the library. */
    private fun repositoryIn(folder: File): File {
        val repository = File(folder, "repository").also(File::mkdir)
        val local = File(System.getProperty("localRepository") ?: "${System.getProperty("user.home")}/.m2/repository")
        for (group in local.listFiles()!!.filter { it.name != "app" }) {
            Files.createSymbolicLink(File(repository, group.name).toPath(), group.toPath())
        }
        val version = Regex("<version>(.*)</version>").find(blocks("xml", readme)[0])!!.groupValues[1]
        val installed = File(repository, "app/onlycare/signaling-client/$version").also(File::mkdirs)
        File(here, "pom.xml").copyTo(File(installed, "signaling-client-$version.pom"))
        val classes = File(here, "target/classes")
        JarOutputStream(File(installed, "signaling-client-$version.jar").outputStream()).use { jar ->
            for (file in classes.walk().filter(File::isFile)) {
                jar.putNextEntry(JarEntry(file.relativeTo(classes).invariantSeparatorsPath))
                jar.write(file.readBytes())
                jar.closeEntry()
            }
        }
        return repository
    }

    private fun shell(folder: File, script: String, url: String): Pair<Int, List<String>> {
        val output = File(folder, "output")
        val builder = ProcessBuilder("sh", "-e", "-c", script).directory(folder).redirectErrorStream(true).redirectOutput(output)
        builder.environment()["SIGNALING_URL"] = url
        val process = builder.start()
        val ended = process.waitFor(5, TimeUnit.MINUTES)
        process.descendants().forEach { it.destroyForcibly() }
        process.destroyForcibly()
        return (if (ended) process.exitValue() else -1) to output.readLines()
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

    @Test
    fun `what is public has a docstring`() {
        val declared = Regex("^ *public .*|^    [A-Z_]+(, [A-Z_]+)*,$")
        var found = 0
        for (file in File(here, "src/main/kotlin").walk().filter(File::isFile)) {
            val lines = file.readLines()
            for ((at, line) in lines.withIndex()) {
                if (!declared.matches(line)) continue
                found += 1
                assertTrue("enum class" !in line || line.endsWith("{"), "${file.name}:${at + 1}: its members have no docstrings: $line")
                // What a constructor takes is in the docstring of its class.
                val property = Regex("^ +public val (\\w+).*,$").find(line)?.groupValues?.get(1)
                val above = lines.take(at).lastOrNull { !it.trim().startsWith("@") }.orEmpty()
                val told = if (property == null) above.trim().endsWith("*/") else lines.any { "@property $property " in it }
                assertTrue(told, "${file.name}:${at + 1} has no docstring: $line")
            }
        }
        assertTrue(found > 100, "$found items")
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
