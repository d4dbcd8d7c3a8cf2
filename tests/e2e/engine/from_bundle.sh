# Run by own_engine.sh with BUNDLE and HOME_FOLDER: an engine without any image, no network, and a bundle.
docker/engine.sh
echo "images before: $(docker images --quiet | wc -l)"
export SANDLOT_BUNDLE=$BUNDLE SANDLOT_HOME=$HOME_FOLDER SANDLOT_POOL_SIZE=0
set -a
images=$(docker/build.sh all)
eval "$images"
set +a
.venv/bin/sandlot serve --background
eval "$(.venv/bin/sandlot env)"
.venv/bin/python tests/e2e/engine/use_bundle.py "$TEMPLATE"
.venv/bin/sandlot down --all
echo "containers after: $(docker ps --all --quiet | wc -l)"
kill "$(cat /run/docker.pid)"
until ! pgrep -x dockerd >/dev/null; do sleep 0.1; done
