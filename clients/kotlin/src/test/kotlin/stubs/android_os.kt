package android.os

class Bundle

interface IBinder
