// swift-tools-version:5.9
import PackageDescription

let package = Package(
    name: "ElirCore",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "ElirCore", targets: ["ElirCore"])],
    targets: [
        .target(name: "ElirCore"),
        .testTarget(name: "ElirCoreTests", dependencies: ["ElirCore"]),
    ]
)
