package android.content.pm

object ServiceInfo {
    const val FOREGROUND_SERVICE_TYPE_MICROPHONE: Int = 128
}
