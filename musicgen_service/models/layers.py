"""torch's layers without random initialisation, which would take longer than loading the weights that replace it."""

from torch import nn


class _Uninitialised:
    def reset_parameters(self) -> None:
        """Leave the weights uninitialised."""


class Conv1d(_Uninitialised, nn.Conv1d):
    """See `torch.nn.Conv1d`."""


class Conv2d(_Uninitialised, nn.Conv2d):
    """See `torch.nn.Conv2d`."""


class Embedding(_Uninitialised, nn.Embedding):
    """See `torch.nn.Embedding`."""


class Linear(_Uninitialised, nn.Linear):
    """See `torch.nn.Linear`."""


class LSTM(_Uninitialised, nn.LSTM):
    """See `torch.nn.LSTM`."""
