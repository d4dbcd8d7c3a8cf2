# Run by own_engine.sh: two starts at once, then an engine that was killed and whose pid files name another process.
docker/engine.sh & first=$!
docker/engine.sh & second=$!
wait "$first"
wait "$second"
echo "engines: $(pgrep -cx dockerd)"
echo "live-restore: $(docker info --format '{{.LiveRestoreEnabled}}')"

pid_files="/run/docker.pid /run/docker/containerd/containerd.pid"
for file in $pid_files; do kill -9 "$(cat "$file")" || true; done # one may take the other along
until ! pgrep -x 'dockerd|containerd' >/dev/null; do sleep 0.1; done
sleep 300 &
for file in $pid_files; do echo -n $! >"$file"; done
docker/engine.sh
echo "after a kill: $(docker info --format '{{.LiveRestoreEnabled}}')"

kill "$(cat /run/docker.pid)"
until ! pgrep -x dockerd >/dev/null; do sleep 0.1; done
echo '{"live-restore": true}' >/etc/docker/daemon.json
docker/engine.sh
echo "with a configuration: $(docker info --format '{{.LiveRestoreEnabled}}')"
