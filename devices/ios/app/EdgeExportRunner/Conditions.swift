import Foundation
import UIKit

/// What the phone is like at this moment, and what it is.
enum Conditions {
    /// `nominal`, `fair`, `serious` or `critical`, as iOS says it.
    static func thermalState() -> String {
        switch ProcessInfo.processInfo.thermalState {
        case .nominal: return "nominal"
        case .fair: return "fair"
        case .serious: return "serious"
        case .critical: return "critical"
        @unknown default: return "unknown"
        }
    }

    /// Waits until the phone is cool: polls every 5 s, 300 s at most.
    static func coolDown() {
        let began = Clock.nanoseconds()
        while thermalState() != "nominal" && Clock.nanoseconds() - began < 300_000_000_000 {
            Thread.sleep(forTimeInterval: 5)
        }
    }

    static func now() -> [String: Any] {
        return [
            "time": ISO8601DateFormatter().string(from: Date()),
            "thermal_state": thermalState(),
            "low_power_mode": ProcessInfo.processInfo.isLowPowerModeEnabled,
            "uptime_s": ProcessInfo.processInfo.systemUptime,
        ]
    }

    static func device() -> [String: Any] {
        let process = ProcessInfo.processInfo
        return [
            "machine": machine(),
            "os": process.operatingSystemVersionString,
            "cores": process.processorCount,
            "memory_bytes": process.physicalMemory,
            "debugger": isTraced(),
            "metal_validation": metalValidation(),
        ]
    }

    /// The pages that count against this process's limit, dirty and compressed ones; `nil` if iOS does not tell.
    static func footprint() -> [String: Any]? {
        var info = task_vm_info_data_t()
        var count = mach_msg_type_number_t(MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size)
        let status = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) { words in
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), words, &count)
            }
        }
        return status == KERN_SUCCESS ? ["bytes": info.phys_footprint, "kind": "phys_footprint"] : nil
    }

    /// The model's number, e.g. `iPhone16,1`.
    private static func machine() -> String {
        var found = utsname()
        uname(&found)
        return withUnsafeBytes(of: &found.machine) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    /// Whether a debugger is attached: it makes a timing worthless.
    private static func isTraced() -> Bool {
        var info = kinfo_proc()
        var size = MemoryLayout<kinfo_proc>.stride
        var name: [Int32] = [CTL_KERN, KERN_PROC, KERN_PROC_PID, getpid()]
        let status = sysctl(&name, UInt32(name.count), &info, &size, nil, 0)
        return status == 0 && (info.kp_proc.p_flag & P_TRACED) != 0
    }

    private static func metalValidation() -> Bool {
        let environment = ProcessInfo.processInfo.environment
        return ["METAL_DEVICE_WRAPPER_TYPE", "MTL_DEBUG_LAYER", "MTL_SHADER_VALIDATION"].contains { name in
            !["", "0"].contains(environment[name] ?? "")
        }
    }
}
