// Manifest, tiles and pixels: no Android in it, so that it is tested on any machine.
plugins {
    alias(libs.plugins.kotlin.jvm)
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    compileOnly(libs.json) // part of Android
    testImplementation(libs.json)
    testImplementation(libs.junit)
}

tasks.test {
    val checkout = rootDir.resolve("../..")
    systemProperty("elir.golden", checkout.resolve("tests/golden/apps.json"))
    systemProperty("elir.manifest", providers.gradleProperty("bundle").map { "$it/manifest.json" }.getOrElse(""))
}
