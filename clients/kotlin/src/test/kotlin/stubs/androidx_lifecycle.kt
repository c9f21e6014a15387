package androidx.lifecycle

interface LifecycleObserver

interface LifecycleOwner {
    val lifecycle: Lifecycle
}

interface DefaultLifecycleObserver : LifecycleObserver {
    fun onStart(owner: LifecycleOwner): Unit = Unit

    fun onStop(owner: LifecycleOwner): Unit = Unit
}

class Lifecycle(private val owner: LifecycleOwner) {
    fun addObserver(observer: LifecycleObserver) {
        if (observer is DefaultLifecycleObserver) observer.onStart(owner)
    }
}

class ProcessLifecycleOwner private constructor() : LifecycleOwner {
    override val lifecycle: Lifecycle = Lifecycle(this)

    companion object {
        fun get(): LifecycleOwner = ProcessLifecycleOwner()
    }
}
