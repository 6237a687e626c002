import ElirCore
import Foundation
import PhotosUI
import SwiftUI

/// Tiles done and in all, and the seconds that are left; nil before the first tile.
struct Work: Equatable {
    var done = 0
    var total = 0
    var secondsLeft: Int?
}

/// Keeps the bundle and its model between photos; its work is done one photo after another.
private actor Restorer {
    private var bundle: BundleFolder?
    private var model: OnnxModel?
    private var choice: Choice?

    struct Outcome {
        let task: String
        let accelerator: String
        let passedOver: String?
        let before: CGImage
        let after: PixelImage
    }

    func restore(
        _ data: Data, _ choice: Choice, shown: @escaping @Sendable (CGImage) -> Void,
        progress: @escaping @Sendable (Work) -> Void
    ) throws -> Outcome {
        let bundle = try self.bundle ?? BundleFolder()
        self.bundle = bundle
        let manifest = bundle.manifest
        let before = try PhotoLibrary.read(data, upscale: manifest.processing.upscale)
        shown(before)
        let model: OnnxModel
        if let current = self.model, self.choice == choice {
            model = current
        } else {
            model = try OnnxModel.open(bundle, choice)
        }
        self.model = model
        self.choice = choice
        let started = Date()
        let after = try Fitting(manifest.processing, size: manifest.input.size).restore(
            PixelImage(before), run: model.run
        ) { done, total in
            try Task.checkCancellation()
            let left = done == 0 ? nil : Int(Date().timeIntervalSince(started) / Double(done) * Double(total - done))
            progress(Work(done: done, total: total, secondsLeft: left))
        }
        return Outcome(
            task: manifest.identity.task, accelerator: model.accelerator, passedOver: model.passedOver, before: before,
            after: after)
    }
}

/// What the screen shows.
@MainActor
final class RestoreModel: ObservableObject {
    @Published var choice = Choice.auto
    @Published private(set) var before: CGImage?
    @Published private(set) var after: CGImage?
    @Published private(set) var work: Work?
    @Published private(set) var message: String?
    @Published private(set) var told: [String] = []

    private let restorer = Restorer()
    private var result: PixelImage?
    private var running: Task<Void, Never>?

    var busy: Bool { work != nil }

    /// Starts to restore a photo.
    func restore(_ item: PhotosPickerItem) {
        guard !busy else { return }
        (before, after, result, message, work) = (nil, nil, nil, nil, Work())
        running = Task {
            defer { work = nil }
            do {
                guard let data = try await item.loadTransferable(type: Data.self) else {
                    throw ElirError("the photo cannot be read; fix: choose another")
                }
                let outcome = try await restorer.restore(data, choice) { image in
                    Task { @MainActor in self.before = image }
                } progress: { work in
                    Task { @MainActor in if self.busy { self.work = work } }
                }
                before = outcome.before
                after = try outcome.after.cgImage()
                result = outcome.after
                told = ["\(outcome.task) on \(outcome.accelerator)"] + (outcome.passedOver.map { ["not on \($0)"] } ?? [])
            } catch is CancellationError {
                message = "Stopped. Nothing was saved."
            } catch {
                message = error.localizedDescription
            }
        }
    }

    /// Stops after the tile that is being computed.
    func cancel() {
        running?.cancel()
    }

    /// Saves the result as a new photo.
    func save() {
        guard !busy, let result else { return }
        work = Work()
        running = Task {
            defer { work = nil }
            do {
                try await PhotoLibrary.save(result)
                message = "Saved as a new photo."
            } catch {
                message = error.localizedDescription
            }
        }
    }
}
