# ZSRobust in a container; torch's wheel for Linux computes on the CPU and on NVIDIA GPUs alike.
#
#   docker build -t zsrobust .
#   docker run --rm zsrobust demo --quick
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" zsrobust evaluate --model ... --data ...
#
# A smaller image, without CUDA:
#
#   docker build -t zsrobust --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
FROM python:3.12-slim

ARG TORCH_INDEX=""
ARG EXTRAS="photo,serve,huggingface,remote,transformers"

COPY . /src
RUN if [ -n "$TORCH_INDEX" ]; then \
      pip install --no-cache-dir --index-url "$TORCH_INDEX" torch torchvision; \
    fi \
 && pip install --no-cache-dir "/src[$EXTRAS]" \
 && rm -rf /src

# Run folders go to the mounted folder, downloads and caches to a volume if one is mounted there.
ENV HF_HOME=/cache/huggingface ZSROBUST_CACHE=/cache/zsrobust
VOLUME /cache
WORKDIR /work
ENTRYPOINT ["zsrobust"]
CMD ["--help"]
