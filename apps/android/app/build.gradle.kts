plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
    alias(libs.plugins.compose.compiler)
}

android {
    namespace = "org.elir.edge.app"
    compileSdk = 35

    defaultConfig {
        applicationId = "org.elir.edge.app"
        minSdk = 29 // new photos beside others without a permission
        targetSdk = 35
        versionCode = 1
        versionName = "1.0"
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }

    buildFeatures { compose = true }
    androidResources { noCompress += "tflite" } // it is mapped, not copied

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    implementation(project(":core"))
    implementation(platform(libs.compose.bom))
    implementation(libs.compose.material3)
    implementation(libs.activity.compose)
    implementation(libs.lifecycle.viewmodel)
    implementation(libs.litert)
}

// The bundle that the app carries: ./gradlew installDebug -Pbundle=/path/to/dist/denoising-nano-tflite-int8
val bundle = providers.gradleProperty("bundle")
val copyBundle by tasks.registering(Sync::class) {
    val folder = bundle.orNull
        ?: throw GradleException("no bundle; expected -Pbundle=folder; fix: make export TASK=denoising TARGET=tflite")
    if (!file(folder).resolve("manifest.json").isFile) {
        throw GradleException("$folder is not a bundle; fix: pass a folder made by make export TARGET=tflite")
    }
    from(folder)
    into(layout.buildDirectory.dir("bundle-assets/bundle"))
}

android.sourceSets.named("main") {
    assets.srcDir(layout.buildDirectory.dir("bundle-assets"))
}

tasks.named("preBuild") {
    dependsOn(copyBundle)
}
