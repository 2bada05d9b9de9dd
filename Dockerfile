# flowmusic on a CPU: generation, batches, extraction and evaluation, without a network at run time.
#
#   docker build -t flowmusic .
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" flowmusic \
#       generate --text "calm piano trio" --chords "Am | F | C | G7" -o clip.wav
#   docker run --rm flowmusic doctor
FROM python:3.12-slim

# FluidSynth's library renders corpora (flowmusic corpus); generation does not need it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libfluidsynth3 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/flowmusic
COPY constraints.txt ./
# pip's own torch for Linux brings several GB of CUDA. This index has the CPU build, 2.13.0+cpu, which pip prefers
# to 2.13.0. For CUDA: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 -t flowmusic .
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url "${TORCH_INDEX}" torch

COPY pyproject.toml README.md LICENSE ./
COPY features features
COPY flowmusic flowmusic
RUN pip install --no-cache-dir -c constraints.txt . && rm -rf /opt/flowmusic/build

# Any user may run it, also one without an entry in /etc/passwd: caches lie in a folder that all may write to.
ENV XDG_CACHE_HOME=/cache \
    FLOWMUSIC_CACHE=/cache/flowmusic \
    MPLCONFIGDIR=/cache/matplotlib \
    NUMBA_CACHE_DIR=/cache/numba \
    OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=2000
RUN useradd --create-home flowmusic && mkdir -m 1777 /cache
USER flowmusic
WORKDIR /work
ENTRYPOINT ["flowmusic"]
CMD ["--help"]
