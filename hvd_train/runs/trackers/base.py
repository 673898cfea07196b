"""The base class of trackers."""

from __future__ import annotations

from hvd_train.events import Observer


class Tracker(Observer):
    """Sends what happens in a run to a place where it can be looked at, such as TensorBoard.

    A tracker is an Observer on the root: override the events that you need. It is made without arguments before
    training begins, so open files and connections in `on_start`, and close them in `close`.

        class Printer(Tracker):
            def on_epoch_end(self, row, *, best):
                print(row["epoch"], row["val_loss"])

    Three rules:

    - It never calls a collective. The other ranks have no tracker.
    - When it raises an exception, the run reports it once and goes on without the tracker. `close` is not called then.
    - Training waits for each event. Leave slow work to a thread.
    """

    is_optional = True
