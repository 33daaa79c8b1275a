# The studio as a service: not root, and nothing to write to but the volume /data.
#
#   docker build -t duetto-studio .
#   docker run --read-only -v duetto:/data -p 127.0.0.1:8017:8017 \
#     -e DUETTO_STUDIO_TOKEN=a-secret-of-16-characters-or-more duetto-studio
#
# The tests of its API, run like the service itself:
#
#   docker build --target check -t duetto-studio-check .
#   docker run --rm --read-only -v duetto-check:/data duetto-studio-check

FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheels

FROM python:3.11-slim AS service
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/*.whl)[studio,av,eval]" \
  && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin duetto \
  && install --directory --owner duetto --mode 700 /data
USER 10001
VOLUME /data
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MPLCONFIGDIR=/data/.matplotlib
EXPOSE 8017
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", "import os, urllib.request as u; \
u.urlopen(u.Request('http://127.0.0.1:8017/api/health', \
headers={'Authorization': 'Bearer ' + os.environ.get('DUETTO_STUDIO_TOKEN', '')}))"]
ENTRYPOINT ["duetto", "studio", "--host", "0.0.0.0", "--no-browser", "--data", "/data"]

FROM service AS check
USER root
RUN pip install --no-cache-dir httpx hypothesis onnx pytest
WORKDIR /check
COPY pyproject.toml ./
COPY tests tests
USER 10001
ENV HYPOTHESIS_STORAGE_DIRECTORY=/data/.hypothesis TMPDIR=/data
ENTRYPOINT ["pytest", "-p", "no:cacheprovider", "--basetemp", "/data/tests", "tests/studio", \
  "--ignore=tests/studio/test_page.py", "--ignore=tests/studio/test_playing.py"]

FROM service
