package app.onlycare.signaling

import java.io.File
import java.util.concurrent.TimeUnit
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

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
