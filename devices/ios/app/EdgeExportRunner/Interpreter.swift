import Foundation
import TensorFlowLiteC

#if canImport(TensorFlowLiteCMetal)
import TensorFlowLiteCMetal
#endif
#if canImport(TensorFlowLiteCCoreML)
import TensorFlowLiteCCoreML
#endif

/// The TensorFlow Lite interpreter on one model with one delegate, through its C API.
final class Interpreter {
    private typealias Delegate = UnsafeMutablePointer<TfLiteDelegate>

    private let model: OpaquePointer
    private var interpreter: OpaquePointer?
    private var delegate: Delegate?
    private let deleteDelegate: (Delegate) -> Void
    private let before = UnsafeMutablePointer<EdgeExportCount>.allocate(capacity: 1)
    private let after = UnsafeMutablePointer<EdgeExportCount>.allocate(capacity: 1)
    private var observers: [Delegate] = []

    init(path: String, delegate name: String, threads: Int, precisionLoss: Bool) throws {
        guard let loaded = TfLiteModelCreateFromFile(path) else {
            throw JobFailed("input", "the model does not load")
        }
        model = loaded
        switch name {
        case "cpu":
            var options = TfLiteXNNPackDelegateOptionsDefault()
            options.num_threads = Int32(threads)
            delegate = TfLiteXNNPackDelegateCreate(&options)
            deleteDelegate = { TfLiteXNNPackDelegateDelete($0) }
        case "metal":
            #if canImport(TensorFlowLiteCMetal)
            var options = TFLGpuDelegateOptions()
            options.allow_precision_loss = precisionLoss
            options.wait_type = TFLGpuDelegateWaitTypePassive
            options.enable_quantization = true
            delegate = TFLGpuDelegateCreate(&options)
            deleteDelegate = { TFLGpuDelegateDelete($0) }
            #else
            deleteDelegate = { _ in }
            #endif
        case "coreml":
            #if canImport(TensorFlowLiteCCoreML)
            var options = TfLiteCoreMlDelegateOptions()
            options.enabled_devices = TfLiteCoreMlDelegateDevicesWithNeuralEngine
            options.min_nodes_per_partition = 2
            delegate = TfLiteCoreMlDelegateCreate(&options)
            deleteDelegate = { TfLiteCoreMlDelegateDelete($0) }
            #else
            deleteDelegate = { _ in }
            #endif
        default:
            deleteDelegate = { _ in }
        }
        guard let chosen = delegate else {
            throw JobFailed("missing", "the delegate \(name) cannot be made on this phone, or is not in this app")
        }
        interpreter = try create(chosen, threads: threads)
    }

    deinit {
        if let interpreter = interpreter {
            TfLiteInterpreterDelete(interpreter)
        }
        if let delegate = delegate {
            deleteDelegate(delegate)
        }
        observers.forEach { EdgeExportObserverDelete($0) }
        TfLiteModelDelete(model)
        before.deallocate()
        after.deallocate()
    }

    /// The interpreter, with an observer on either side of the delegate: what it took is the difference.
    private func create(_ delegate: Delegate, threads: Int) throws -> OpaquePointer {
        guard let options = TfLiteInterpreterOptionsCreate(), let first = EdgeExportObserverCreate(before),
            let second = EdgeExportObserverCreate(after)
        else {
            throw JobFailed("device", "out of memory")
        }
        observers = [first, second]
        defer { TfLiteInterpreterOptionsDelete(options) }
        TfLiteInterpreterOptionsSetNumThreads(options, Int32(threads))
        TfLiteInterpreterOptionsAddDelegate(options, first)
        TfLiteInterpreterOptionsAddDelegate(options, delegate)
        TfLiteInterpreterOptionsAddDelegate(options, second)
        guard let made = TfLiteInterpreterCreate(model, options) else {
            throw JobFailed("device", "the interpreter cannot be built with this delegate")
        }
        return made
    }

    /// Gives every input the shape asked for, where it has another one, and allocates.
    func prepare(_ inputs: [InputSpec]) throws {
        guard Int(TfLiteInterpreterGetInputTensorCount(interpreter)) == inputs.count else {
            throw JobFailed("input", "the plan and the model have different numbers of inputs")
        }
        for input in inputs {
            let index = Int32(input.index)
            if shape(TfLiteInterpreterGetInputTensor(interpreter, index)) == input.shape {
                continue
            }
            let dims = input.shape.map { Int32($0) }
            guard TfLiteInterpreterResizeInputTensor(interpreter, index, dims, Int32(dims.count)) == kTfLiteOk else {
                throw JobFailed("device", "input \(input.name) cannot be resized")
            }
        }
        guard TfLiteInterpreterAllocateTensors(interpreter) == kTfLiteOk else {
            throw JobFailed("device", "the tensors cannot be allocated")
        }
        for input in inputs {
            let size = TfLiteTensorByteSize(TfLiteInterpreterGetInputTensor(interpreter, Int32(input.index)))
            guard size == input.bytes else {
                throw JobFailed("input", "input \(input.name) takes \(size) bytes, the plan gives \(input.bytes)")
            }
        }
    }

    func feed(_ input: InputSpec, _ data: Data, sample: Int) throws {
        let start = sample * input.bytes
        let status = data.withUnsafeBytes { buffer in
            TfLiteTensorCopyFromBuffer(
                TfLiteInterpreterGetInputTensor(interpreter, Int32(input.index)),
                buffer.baseAddress.map { $0 + start }, input.bytes)
        }
        guard status == kTfLiteOk else {
            throw JobFailed("device", "input \(input.name) cannot be set")
        }
    }

    func invoke() throws {
        guard TfLiteInterpreterInvoke(interpreter) == kTfLiteOk else {
            throw JobFailed("device", "the inference failed")
        }
    }

    func outputBytes(_ output: OutputSpec) -> Int {
        return TfLiteTensorByteSize(TfLiteInterpreterGetOutputTensor(interpreter, Int32(output.index)))
    }

    func outputShape(_ output: OutputSpec) -> [Int] {
        return shape(TfLiteInterpreterGetOutputTensor(interpreter, Int32(output.index)))
    }

    /// Copies an output tensor: with a GPU this waits until the work is done.
    func fetch(_ output: OutputSpec, into buffer: UnsafeMutableRawPointer, bytes: Int) throws {
        let tensor = TfLiteInterpreterGetOutputTensor(interpreter, Int32(output.index))
        guard TfLiteTensorCopyToBuffer(tensor, buffer, bytes) == kTfLiteOk else {
            throw JobFailed("device", "output \(output.name) cannot be read")
        }
    }

    /// How many operators the delegate took, in how many partitions, and the builtin codes of those that stayed.
    func delegation() -> [String: Any] {
        let all = before.pointee
        var left = after.pointee
        guard all.known && left.known else {
            let why = "the runtime did not show its graph to the observer"
            return [
                "delegated_ops": NSNull(), "partitions": NSNull(), "ops_left_codes": NSNull(),
                "delegation_unknown": why,
            ]
        }
        let count = min(Int(left.operators), Int(kEdgeExportMaxCodes))
        let codes = withUnsafeBytes(of: &left.codes) { Array($0.bindMemory(to: Int32.self).prefix(count)) }
        return [
            "delegated_ops": [Int(all.operators - left.operators), Int(all.operators)],
            "partitions": Int(left.partitions),
            "ops_left_codes": Array(Set(codes.map { Int($0) })).sorted(),
            "delegation_unknown": NSNull(),
        ]
    }

    private func shape(_ tensor: UnsafePointer<TfLiteTensor>?) -> [Int] {
        guard let tensor = tensor else {
            return []
        }
        return (0..<TfLiteTensorNumDims(tensor)).map { Int(TfLiteTensorDim(tensor, $0)) }
    }
}
