"""Being built."""
from tidegate.pipelines.authoring import step, pipeline
