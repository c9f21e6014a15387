package app.onlycare.signaling

import java.math.BigDecimal
import java.math.BigInteger
import kotlinx.coroutines.runBlocking
import org.json.JSONObject
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows

/** What an app gives the library to send. */
class PayloadTest {
    private fun sent(value: Any?) = fromJson(toJson(value))

    private fun circle(): List<Any?> = mutableListOf<Any?>().also { it.add(it) }

    @Test
    fun `numbers of every kind stay what they are`() {
        assertEquals(12.5, sent(BigDecimal("12.50")))
        assertEquals(12L, sent(BigDecimal("12")))
        assertEquals(1e30, sent(BigInteger.TEN.pow(30)))
        assertEquals(Long.MAX_VALUE, sent(Long.MAX_VALUE))
        assertEquals(3L, sent(3.toShort()))
        assertEquals(0.5, sent(0.5f))
        assertEquals("NaN", sent(Double.NaN))
    }

    @Test
    fun `the size of JSON is that of its bytes`() {
        for (value in listOf("plain", "ü – 😀 \" \n \u0001", 12, -3.25, true, null, emptyMap<String, Any>(), mapOf("a" to listOf(1, "b"), "c" to null))) {
            val text = JSONObject().put("v", toJson(value)).toString()
            // org.json escapes some characters that need not be.
            val bytes = text.replace("\\u2013", "–").toByteArray().size
            assertEquals(bytes, sizeOf(JSONObject().put("v", toJson(value))), text)
        }
    }

    @Test
    fun `an address that is none is refused at once`() {
        for (url in listOf("", "signaling.example.com", "http:// a", "ftp://example.com", "https://")) {
            val refused = assertThrows<IllegalArgumentException> { PhoneOptions(url, "USR_1", "device", { "token" }) }
            assertTrue("https://signaling.example.com" in refused.message!!)
        }
        PhoneOptions("HTTPS://example.com:3001/", "USR_1", "device", { "token" })
    }

    /** Socket.IO would ask for that namespace, for ever. */
    @Test
    fun `an address with a path is refused at once`() {
        for (url in listOf("https://example.com/signaling", "http://127.0.0.1:3001/socket.io/", "https://example.com//")) {
            val refused = assertThrows<IllegalArgumentException> { PhoneOptions(url, "USR_1", "device", { "token" }) }
            assertTrue("has the path" in refused.message!!, refused.message)
        }
    }

    /** The server counts bytes, and takes a device with a longer name for one without. */
    @Test
    fun `a device without a name that the server takes is refused at once`() {
        for (deviceId in listOf("", "x".repeat(65), "é".repeat(33))) {
            val refused = assertThrows<IllegalArgumentException> { PhoneOptions("http://127.0.0.1:1", "USR_1", deviceId, { "token" }) }
            assertEquals("deviceId has ${deviceId.toByteArray().size} bytes: the server takes 1 to 64", refused.message)
        }
        PhoneOptions("http://127.0.0.1:1", "USR_1", "é".repeat(32), { "token" })
    }

    @Test
    fun `what can't be sent is refused here, and nothing is sent`() = runBlocking {
        val phone = Phone(PhoneOptions("http://127.0.0.1:1", "USR_1", "device", { "token" }))
        phone.handlePush(mapOf("type" to "incoming_call", "callId" to "CALL_1", "callerId" to "USR_2"))
        val call = phone.calls.value.single()
        for (data in listOf(null, circle(), "x".repeat(4095), mapOf("deep" to "é".repeat(2048)))) {
            assertEquals(ErrorCode.INVALID_PAYLOAD, call.send(data, keep = true).error?.code)
        }
        assertEquals(ErrorCode.NOT_CONNECTED, call.send("x".repeat(4094)).error?.code)
        for (further in listOf(mapOf("circle" to circle()), mapOf("long" to "x".repeat(16 * 1024)))) {
            val dialled = phone.call("USR_3", CallType.AUDIO, CallOptions(further = further))
            assertEquals(ErrorCode.INVALID_PAYLOAD, dialled.dialled().error?.code)
            assertEquals(EndReason.FAILED, dialled.state.value.reason)
        }
        assertEquals(listOf(call), phone.calls.value, "the call that rings is left alone")
        assertTrue(phone.log.none { "failed" in it.text && "listener" in it.text })
    }
}
