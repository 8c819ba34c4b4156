// An interpreter with a delegate, by TensorFlow Lite's C API; tensors are reached by their names.

import Foundation

final class Model {
    let version = String(cString: TfLiteVersion())
    private let model: OpaquePointer
    private let interpreter: OpaquePointer
    private var dispose: () -> Void = {}

    init(path: String, threads: Int, delegate: String) throws {
        guard let model = TfLiteModelCreateFromFile(path) else {
            throw Failed(kind: "input", message: "the model does not load")
        }
        self.model = model
        let options = TfLiteInterpreterOptionsCreate()
        defer { TfLiteInterpreterOptionsDelete(options) }
        TfLiteInterpreterOptionsSetNumThreads(options, Int32(threads))
        switch delegate {
        case "cpu":
            break
        case "metal":
            #if canImport(TensorFlowLiteCMetal)
                var metal = TFLGpuDelegateOptionsDefault()
                guard let made = TFLGpuDelegateCreate(&metal) else {
                    throw Failed(kind: "missing", message: "there is no Metal delegate on this device")
                }
                TfLiteInterpreterOptionsAddDelegate(options, made)
                dispose = { TFLGpuDelegateDelete(made) }
            #else
                throw Failed(kind: "missing", message: "the app was built without the Metal delegate")
            #endif
        case "coreml":
            #if canImport(TensorFlowLiteCCoreML)
                var coreml = TfLiteCoreMlDelegateOptions()
                guard let made = TfLiteCoreMlDelegateCreate(&coreml) else {
                    throw Failed(kind: "missing", message: "there is no Neural Engine on this device")
                }
                TfLiteInterpreterOptionsAddDelegate(options, made)
                dispose = { TfLiteCoreMlDelegateDelete(made) }
            #else
                throw Failed(kind: "missing", message: "the app was built without the Core ML delegate")
            #endif
        default:
            throw Failed(kind: "input", message: "no such delegate: \(delegate)")
        }
        guard let interpreter = TfLiteInterpreterCreate(model, options) else {
            throw Failed(kind: "device", message: "no interpreter for this model (a delegate may have refused it)")
        }
        self.interpreter = interpreter
        guard TfLiteInterpreterAllocateTensors(interpreter) == kTfLiteOk else {
            throw Failed(kind: "device", message: "the tensors cannot be allocated")
        }
    }

    deinit {
        TfLiteInterpreterDelete(interpreter)
        dispose()
        TfLiteModelDelete(model)
    }

    var outputNames: [[String: Any]] {
        (0..<TfLiteInterpreterGetOutputTensorCount(interpreter)).map { index in
            let tensor = TfLiteInterpreterGetOutputTensor(interpreter, index)
            return ["tensor": String(cString: TfLiteTensorName(tensor)), "bytes": TfLiteTensorByteSize(tensor)]
        }
    }

    func inputBytes(_ name: String) throws -> Int { TfLiteTensorByteSize(try input(name)) }

    func feed(_ name: String, _ data: Data) throws {
        let tensor = try input(name)
        let status = data.withUnsafeBytes { TfLiteTensorCopyFromBuffer(tensor, $0.baseAddress, data.count) }
        guard status == kTfLiteOk else { throw Failed(kind: "input", message: "input \(name) does not fit") }
    }

    func invoke() throws {
        guard TfLiteInterpreterInvoke(interpreter) == kTfLiteOk else {
            throw Failed(kind: "device", message: "an inference failed")
        }
    }

    /// All outputs, one after the other, in the graph's order.
    func read() throws -> Data {
        var found = Data()
        for index in 0..<TfLiteInterpreterGetOutputTensorCount(interpreter) {
            let tensor = TfLiteInterpreterGetOutputTensor(interpreter, index)
            var part = Data(count: TfLiteTensorByteSize(tensor))
            let size = part.count
            let status = part.withUnsafeMutableBytes { TfLiteTensorCopyToBuffer(tensor, $0.baseAddress, size) }
            guard status == kTfLiteOk else { throw Failed(kind: "device", message: "an output cannot be read") }
            found.append(part)
        }
        return found
    }

    private func input(_ name: String) throws -> UnsafeMutablePointer<TfLiteTensor> {
        for index in 0..<TfLiteInterpreterGetInputTensorCount(interpreter) {
            if let tensor = TfLiteInterpreterGetInputTensor(interpreter, index),
                String(cString: TfLiteTensorName(tensor)) == name
            {
                return tensor
            }
        }
        throw Failed(kind: "input", message: "the model has no input \(name)")
    }
}

/// inputs.bin: sample by sample, each sample's tensors in the order of the plan.
struct Samples {
    let count: Int
    private let data: Data
    private let inputs: [Plan.Input]
    private let size: Int

    init(data: Data, inputs: [Plan.Input], model: Model) throws {
        size = inputs.reduce(0) { $0 + $1.bytes }
        guard size > 0, !data.isEmpty, data.count % size == 0 else {
            throw Failed(kind: "input", message: "\(data.count) bytes of inputs, a sample takes \(size)")
        }
        for input in inputs where try model.inputBytes(input.tensor) != input.bytes {
            throw Failed(kind: "input", message: "input \(input.tensor) is not of \(input.bytes) bytes")
        }
        count = data.count / size
        self.data = data
        self.inputs = inputs
    }

    func feed(_ index: Int, _ model: Model) throws {
        var at = index * size
        for input in inputs {
            try model.feed(input.tensor, data.subdata(in: at..<(at + input.bytes)))
            at += input.bytes
        }
    }
}
