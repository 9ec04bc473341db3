"""The version of the package; also in every manifest."""

__version__ = "0.1.0"
