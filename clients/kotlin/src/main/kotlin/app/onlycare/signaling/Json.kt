package app.onlycare.signaling

import kotlin.math.min
import org.json.JSONArray
import org.json.JSONObject

private const val DEPTH = 100

/** What org.json parsed, as maps, lists, texts, numbers, booleans and null. */
internal fun fromJson(value: Any?): Any? = when (value) {
    null, JSONObject.NULL -> null
    is JSONObject -> {
        val fields = LinkedHashMap<String, Any?>()
        for (key in value.keys()) fields[key as String] = fromJson(value.opt(key))
        fields
    }
    is JSONArray -> (0 until value.length()).map { fromJson(value.opt(it)) }
    else -> value
}

/**
 * The other way. What is no JSON goes as its text; a key whose value is null is left out, as the protocol wants it.
 *
 * @throws IllegalArgumentException if it is nested deeper than the server reads, as what contains itself is
 */
internal fun toJson(value: Any?, depth: Int = 0): Any {
    require(depth <= DEPTH) { "nested deeper than $DEPTH" }
    return when (value) {
        null -> JSONObject.NULL
        is Map<*, *> -> JSONObject().also { json ->
            for ((key, inner) in value) if (inner != null) json.put(key.toString(), toJson(inner, depth + 1))
        }
        is Iterable<*> -> JSONArray().also { json -> value.forEach { json.put(toJson(it, depth + 1)) } }
        is Array<*> -> toJson(value.asList(), depth)
        is Int, is Long, is Boolean, is String -> value
        is Double -> if (value.isNaN() || value.isInfinite()) value.toString() else value
        is Float -> toJson(value.toDouble())
        // Of any other kind, such as BigDecimal: whole ones as such.
        is Number -> if (value.toLong().toDouble() == value.toDouble()) value.toLong() else toJson(value.toDouble())
        else -> value.toString()
    }
}

/** How many bytes a value takes as JSON. */
internal fun sizeOf(json: Any): Int = when (json) {
    is JSONObject -> 2 + json.keys().asSequence().sumOf { 2 + sizeOf(it as String) + sizeOf(json.get(it)) } - min(1, json.length())
    is JSONArray -> 2 + (0 until json.length()).sumOf { 1 + sizeOf(json.get(it)) } - min(1, json.length())
    is String -> 2 + json.sumOf { sizeOf(it) }
    is Double -> JSONObject.numberToString(json).length
    else -> json.toString().length
}

private fun sizeOf(char: Char): Int = when {
    char == '"' || char == '\\' || char in "\b\t\n\u000c\r" -> 2
    char < ' ' -> 6
    char < '\u0080' -> 1
    // Of a pair that makes four bytes.
    char < '\u0800' || char.isSurrogate() -> 2
    else -> 3
}

/** What the server will read of what the app gave, whatever the app does to it later; or why it can't be sent. */
internal fun readOnce(given: Any?, limit: Int): Pair<Any?, String?> {
    val json = try {
        toJson(given)
    } catch (failure: Exception) {
        // Also what a collection of the app's throws.
        return null to "it is no JSON: ${failure.message ?: failure.javaClass.name}"
    }
    if (json == JSONObject.NULL) return null to "it is null"
    return if (sizeOf(json) > limit) null to "it is larger than $limit bytes" else fromJson(json) to null
}
