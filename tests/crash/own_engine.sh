# Run by tests/e2e/engine/own_engine.sh with BUNDLE, CRASH_SECONDS and CRASH_SEED, and LIVE_RESTORE=false for an engine
# that takes its containers along: an engine of its own, which may be killed as well.
echo "{\"live-restore\": ${LIVE_RESTORE:-true}}" >/etc/docker/daemon.json
docker/engine.sh
export SANDLOT_BUNDLE=$BUNDLE
set -a
images=$(SANDLOT_HOME=$(mktemp -d) docker/build.sh all)
eval "$images"
set +a
code=0
.venv/bin/python tests/crash/run.py --engine --seconds "$CRASH_SECONDS" --seed "${CRASH_SEED:-$RANDOM}" || code=$?
kill "$(cat /run/docker.pid)"
until ! pgrep -x dockerd >/dev/null; do sleep 0.1; done
exit $code
