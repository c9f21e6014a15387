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

    fun getSharedPreferences(@Suppress("UNUSED_PARAMETER") name: String, @Suppress("UNUSED_PARAMETER") mode: Int) = SharedPreferences()

    companion object {
        const val MODE_PRIVATE: Int = 0
    }
}

class Intent(@Suppress("UNUSED_PARAMETER") context: Context, val target: Class<*>) {
    private val extras = HashMap<String, String?>()

    fun putExtra(name: String, value: String?): Intent = apply { extras[name] = value }

    fun getStringExtra(name: String): String? = extras[name]
}

class SharedPreferences {
    fun getString(key: String, default: String?): String? = Device.settings[key] ?: default

    fun edit() = Editor()

    class Editor {
        private val changes = HashMap<String, String>()

        fun putString(key: String, value: String): Editor = apply { changes[key] = value }

        fun apply() = Device.settings.putAll(changes)
    }
}
