import Foundation

/// A prepared interpreter and the samples to run on it.
final class Session {
    private let interpreter: Interpreter
    private let plan: Plan
    private let inputs: [Data]
    private var next = 0

    init(interpreter: Interpreter, plan: Plan, inputs: [Data]) {
        self.interpreter = interpreter
        self.plan = plan
        self.inputs = inputs
    }

    /// Times the inference; with an accelerator the outputs are read inside the timed region, or its end is not seen.
    func time(_ stages: Stages) throws -> [String: Any] {
        let buffers = plan.outputs.map { output -> UnsafeMutableRawBufferPointer in
            UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, interpreter.outputBytes(output)), alignment: 16)
        }
        defer { buffers.forEach { $0.deallocate() } }
        let reads = plan.delegate != "cpu"
        let timing = Timing(
            plan: try TimingPlan(plan), stages: stages,
            rotate: { try self.feed(self.next % self.plan.samples); self.next += 1 },
            call: {
                try self.interpreter.invoke()
                if reads {
                    for (output, buffer) in zip(self.plan.outputs, buffers) {
                        try self.interpreter.fetch(
                            output, into: buffer.baseAddress!, bytes: self.interpreter.outputBytes(output))
                    }
                }
            })
        return try timing.measure()
    }

    /// Every sample's outputs, one sample after the other; each must have the shape of the first.
    func answer() throws -> (contents: [Data], described: [[String: Any]]) {
        var contents = plan.outputs.map { _ in Data() }
        var shapes: [[Int]] = []
        for sample in 0..<plan.samples {
            try feed(sample)
            try interpreter.invoke()
            let found = plan.outputs.map { interpreter.outputShape($0) }
            if sample == 0 {
                shapes = found
            } else if found != shapes {
                throw JobFailed("device", "an output changes its shape from sample to sample")
            }
            for (position, output) in plan.outputs.enumerated() {
                let bytes = interpreter.outputBytes(output)
                var content = Data(count: bytes)
                try content.withUnsafeMutableBytes { buffer in
                    if let base = buffer.baseAddress {
                        try interpreter.fetch(output, into: base, bytes: bytes)
                    }
                }
                contents[position].append(content)
            }
        }
        let described = zip(plan.outputs, shapes).map { output, shape -> [String: Any] in
            ["name": output.name, "file": output.file, "shape": shape]
        }
        return (contents, described)
    }

    private func feed(_ sample: Int) throws {
        for (input, data) in zip(plan.inputs, inputs) {
            try interpreter.feed(input, data, sample: sample)
        }
    }
}
