"""Floor 4, a job: training on records that nobody but the training program sees.

Promise: what comes out of a run is an adapter and two counts, whatever the records are; how the run
goes is fixed by whoever sealed the dataset, not by whoever runs it; and the adapter that comes out
is one that was loaded again and seen to change the model. spec/private-training.md has what is not
promised.

Public names: `Dataset`, `parse_dataset` (dataset); `LoraSettings` (settings); `train_lora` (lora),
the training program; `Bundle` (bundle), what it makes; `measure_program` (program), which program
it is; `TrainingReceipt`, `issue_receipt`, `verify_receipt` (receipt), what is signed of a run. They
are imported from their modules: the program alone needs the `train` extra.
"""
