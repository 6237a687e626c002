import PhotosUI
import SwiftUI

/// One screen: choose a photo, watch, compare, save.
struct RestoreView: View {
    @StateObject private var model = RestoreModel()
    @State private var picked: PhotosPickerItem?

    var body: some View {
        ScrollView {
            VStack(alignment: .leading, spacing: 12) {
                Picker("Runs on", selection: $model.choice) {
                    ForEach(Choice.allCases) { Text($0.rawValue).tag($0) }
                }
                .pickerStyle(.segmented)
                .disabled(model.busy)
                HStack {
                    PhotosPicker("Choose a photo", selection: $picked, matching: .images)
                        .buttonStyle(.borderedProminent)
                        .disabled(model.busy)
                    if model.busy { Button("Cancel", role: .cancel, action: model.cancel).buttonStyle(.bordered) }
                    if model.after != nil { Button("Save", action: model.save).buttonStyle(.bordered).disabled(model.busy) }
                }
                if let work = model.work { progress(work) }
                if let message = model.message { Text(message) }
                ForEach(model.told, id: \.self) { Text($0).font(.footnote) }
                if let before = model.before { BeforeAfter(before: before, after: model.after) }
            }
            .padding()
        }
        .onChange(of: picked) { item in
            if let item { model.restore(item) }
        }
    }

    @ViewBuilder
    private func progress(_ work: Work) -> some View {
        if work.total == 0 {
            ProgressView()
        } else {
            let left = work.secondsLeft.map { ", \($0) s left" } ?? ""
            ProgressView("Tile \(work.done) of \(work.total)\(left)", value: Double(work.done), total: Double(work.total))
        }
    }
}

/// The photo, and from the slider's place to the right the result.
private struct BeforeAfter: View {
    let before: CGImage
    let after: CGImage?
    @State private var place = 0.5

    var body: some View {
        VStack {
            Image(decorative: before, scale: 1)
                .resizable()
                .aspectRatio(contentMode: .fit)
                .overlay {
                    if let after {
                        GeometryReader { area in
                            Image(decorative: after, scale: 1)
                                .resizable()
                                .mask(alignment: .trailing) {
                                    Rectangle().frame(width: area.size.width * (1 - place))
                                }
                            Rectangle()
                                .fill(.white)
                                .frame(width: 2)
                                .offset(x: area.size.width * place - 1)
                        }
                    }
                }
            if after != nil {
                Slider(value: $place)
                    .accessibilityLabel("Before and after")
            }
        }
    }
}
