// What the phone is like at this moment, and a clock that nobody sets.

import Foundation
import UIKit

enum Clock {
    /// Nanoseconds; goes on while the phone sleeps, so that a nap is seen and not hidden.
    static func now() -> Double { Double(clock_gettime_nsec_np(CLOCK_MONOTONIC_RAW)) }
}

enum Conditions {
    static func read() -> [String: Any] {
        let process = ProcessInfo.processInfo
        return [
            "thermal_state": name(process.thermalState),
            "low_power_mode": process.isLowPowerModeEnabled,
            "os": "iOS \(UIDevice.current.systemVersion)",
            "machine": machine(),
            "cores": process.activeProcessorCount,
            "memory_bytes": process.physicalMemory,
            "debugger": traced(),
            "time": ISO8601DateFormatter().string(from: Date()),
        ]
    }

    static func footprint() -> UInt64 {
        var info = task_vm_info_data_t()
        var count = mach_msg_type_number_t(MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<integer_t>.size)
        let status = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
            }
        }
        return status == KERN_SUCCESS ? info.phys_footprint : 0
    }

    private static func name(_ state: ProcessInfo.ThermalState) -> String {
        switch state {
        case .nominal: return "nominal"
        case .fair: return "fair"
        case .serious: return "serious"
        case .critical: return "critical"
        @unknown default: return "unknown"
        }
    }

    private static func machine() -> String {
        var system = utsname()
        uname(&system)
        return withUnsafePointer(to: &system.machine) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
    }

    /// Whether a debugger is attached: then no time means anything.
    private static func traced() -> Bool {
        var info = kinfo_proc()
        var size = MemoryLayout<kinfo_proc>.stride
        var words: [Int32] = [CTL_KERN, KERN_PROC, KERN_PROC_PID, getpid()]
        sysctl(&words, 4, &info, &size, nil, 0)
        return info.kp_proc.p_flag & P_TRACED != 0
    }
}
