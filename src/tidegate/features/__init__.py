"""Feature views, point-in-time training sets, and the same features online."""

from tidegate.features.online import Features
from tidegate.features.point_in_time import point_in_time
from tidegate.features.view import Feature, FeatureView, Latest, Window, latest, window

__all__ = ["Feature", "FeatureView", "Features", "Latest", "Window", "latest", "point_in_time", "window"]
