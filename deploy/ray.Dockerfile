# The image that `cog build` makes, with Ray:
#   docker build -t musicgen-ray:0.1.0 -f deploy/ray.Dockerfile .
FROM musicgen:0.1.0
COPY requirements-ray.txt /src/
COPY deploy/__init__.py deploy/ray_serve.py deploy/ray_replica.py deploy/ray_upstream.py /src/deploy/
COPY deploy/ray_router.py deploy/ray_models.py /src/deploy/
RUN pip install --no-cache-dir --no-deps -r /src/requirements-ray.txt
ENV PYTHONPATH=/src RAY_USAGE_STATS_ENABLED=0
