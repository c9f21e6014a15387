package android.content

import android.app.NotificationManager
import android.media.AudioManager
import android.net.ConnectivityManager
import stubs.Device

abstract class Context {
    private val managers = HashMap<Class<*>, Any>()
    val applicationContext: Context get() = Device.contextOf()

    @Suppress("UNCHECKED_CAST")
    fun <T : Any> getSystemService(of: Class<T>): T {
        check(of in listOf(NotificationManager::class.java, AudioManager::class.java, ConnectivityManager::class.java))
        return managers.getOrPut(of) { Device.service(of) } as T
    }

    fun getSharedPreferences(name: String, @Suppress("UNUSED_PARAMETER") mode: Int) = SharedPreferences(name)

    fun startActivity(intent: Intent) = Device.open(intent)

    companion object {
        const val MODE_PRIVATE: Int = 0
    }
}

class Intent(@Suppress("UNUSED_PARAMETER") context: Context, val target: Class<*>) {
    private val extras = HashMap<String, String?>()

    fun putExtra(name: String, value: String?): Intent = apply { extras[name] = value }

    fun getStringExtra(name: String): String? = extras[name]

    fun addFlags(flags: Int): Intent = apply { check(flags == FLAG_ACTIVITY_NEW_TASK) }

    companion object {
        const val FLAG_ACTIVITY_NEW_TASK: Int = 0x10000000
    }
}

class SharedPreferences(private val name: String) {
    fun getString(key: String, default: String?): String? = Device.settings["$name/$key"] ?: default

    fun edit() = Editor()

    inner class Editor {
        private var cleared = false
        private val changes = HashMap<String, String?>()

        fun putString(key: String, value: String): Editor = apply { changes["$name/$key"] = value }

        fun remove(key: String): Editor = apply { changes["$name/$key"] = null }

        fun clear(): Editor = apply { cleared = true }

        /** As on a device: what is cleared goes before what is put. */
        fun apply() {
            if (cleared) Device.settings.keys.removeIf { it.startsWith("$name/") }
            for ((key, value) in changes) if (value == null) Device.settings.remove(key) else Device.settings[key] = value
        }
    }
}
