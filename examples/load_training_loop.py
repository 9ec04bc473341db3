"""A plain training loop on shards, with a checkpoint after each epoch that the same command continues from.

python examples/load_training_loop.py shards [checkpoint.pt]
"""

import sys
from pathlib import Path

import torch
from first_batch import show
from load_dataloader import Protected
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision.models import resnet18


def main(shards: str, checkpoint: str = "", epochs: int = 2) -> None:
    dataset = Protected(shards)
    classes, device = len(dataset.shards.classes), "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = resnet18(num_classes=classes).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    path = Path(checkpoint or f"{Path(shards)}.training.pt")
    first = 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        first = state["epoch"] + 1
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    for epoch in range(first, epochs):
        order = torch.Generator().manual_seed(epoch)
        correct = total = 0
        for images, labels in DataLoader(dataset, 16, shuffle=True, generator=order):
            images, labels = images.to(device), labels.to(device)
            scores = model(images)
            loss = cross_entropy(scores, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            correct, total = correct + int((scores.argmax(1) == labels).sum()), total + len(labels)
        print(f"epoch {epoch}: loss {loss.item():.3f}, {correct / total:.1%} of the training images correct")
        torch.save({"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    show(DataLoader(dataset, 16), classes)


if __name__ == "__main__":
    main(*sys.argv[1:])
