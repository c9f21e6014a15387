package app.onlycare.signaling

import org.json.JSONArray
import org.json.JSONObject

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

/** The other way. What is no JSON goes as its text; a key whose value is null is left out, as the protocol wants it. */
internal fun toJson(value: Any?): Any = when (value) {
    null -> JSONObject.NULL
    is Map<*, *> -> JSONObject().also { json ->
        for ((key, inner) in value) if (inner != null) json.put(key.toString(), toJson(inner))
    }
    is Iterable<*> -> JSONArray().also { json -> value.forEach { json.put(toJson(it)) } }
    is Array<*> -> toJson(value.asList())
    is Double -> if (value.isNaN() || value.isInfinite()) value.toString() else value
    is Float -> toJson(value.toDouble())
    is Int, is Long, is Boolean, is String -> value
    is Number -> value.toLong()
    else -> value.toString()
}
