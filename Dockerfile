# One image for the hub and for the demo job: `milepost serve` by default, any other command by name.

FROM python:3.13-slim AS build
WORKDIR /src
COPY constraints.txt pyproject.toml LICENSE README.md ./
COPY milepost milepost
COPY reporter reporter
COPY runner runner
COPY hub hub
COPY bridge bridge
COPY client client
RUN python -m venv /opt/milepost \
 && /opt/milepost/bin/python -m pip install --no-cache-dir --constraint constraints.txt \
      ./reporter ./runner ./hub ./bridge ./client .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --home-dir /nonexistent --shell /usr/sbin/nologin milepost
COPY --from=build /opt/milepost /opt/milepost
ENV PATH=/opt/milepost/bin:$PATH PYTHONUNBUFFERED=1
USER milepost
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --start-interval=1s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
CMD ["milepost", "serve", "--host", "0.0.0.0"]
