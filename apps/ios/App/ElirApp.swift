import SwiftUI

@main
struct ElirApp: App {
    var body: some Scene {
        WindowGroup { RestoreView() }
    }
}
