#!/bin/bash
# Builds the runner app, installs it on an iPhone or iPad, does every job in a fresh process, and fetches the results.
#
#     DEVELOPMENT_TEAM=ABCDE12345 ./run.sh [UDID]
#
# Needs a Mac with Xcode 15 or newer and CocoaPods, and a device with iOS 17 or newer in developer mode. Run again, it
# goes on: jobs that have a result are not done again.
set -euo pipefail
cd "$(dirname "$0")"
APP=dev.edgeexport.runner

fail() { echo "error: $1" >&2; exit "${2:-3}"; }

[ "$(uname)" = Darwin ] || fail "this needs a Mac"
command -v xcrun >/dev/null || fail "Xcode is not installed: xcode-select --install"
xcrun devicectl --version >/dev/null 2>&1 || fail "devicectl is missing: Xcode 15 or newer is needed"
command -v pod >/dev/null || fail "CocoaPods is not installed: brew install cocoapods"
[ -n "${DEVELOPMENT_TEAM:-}" ] || fail "set DEVELOPMENT_TEAM to your team's id (Xcode, Settings, Accounts)" 2

DEVICE="${1:-}"
if [ -z "$DEVICE" ]; then
    xcrun devicectl list devices
    fail "name a device: ./run.sh UDID" 2
fi

[ -d project/EdgeExportRunner.xcworkspace ] || (cd project && pod install)
(cd project && xcodebuild -quiet -workspace EdgeExportRunner.xcworkspace -scheme EdgeExportRunner -configuration Release \
    -destination generic/platform=iOS -derivedDataPath build -allowProvisioningUpdates DEVELOPMENT_TEAM="$DEVELOPMENT_TEAM" build)
xcrun devicectl device install app --device "$DEVICE" project/build/Build/Products/Release-iphoneos/EdgeExportRunner.app

copy() { xcrun devicectl device copy "$@" --device "$DEVICE" --domain-type appDataContainer --domain-identifier "$APP"; }

copy to --source models --destination Documents/models
copy to --source jobs --destination Documents/jobs
mkdir -p results
echo "$DEVICE" >results/device
for job in jobs/*/; do
    name="$(basename "$job")"
    [ -f "results/$name/result.json" ] && continue
    echo "job $name"
    # A fresh process for each; what it says goes to the terminal. It ends by itself.
    xcrun devicectl device process launch --console --terminate-existing --device "$DEVICE" "$APP" --job "$name" || true
    rm -rf "results/$name.part"
    if copy from --source "Documents/results/$name" --destination "results/$name.part"; then
        mv "results/$name.part" "results/$name"
    else
        echo "warning: job $name left no result" >&2
    fi
done
echo "done: copy this folder back and run: edge-export ios import FOLDER"
