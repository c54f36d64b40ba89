"""PyTorch: `torch.nn.Sequential`, and a loop over shuffled mini-batches."""

from collections.abc import Callable

import torch
from workloads import (
    Array,
    Digits,
    ManyNetworks,
    Prediction,
    Regression,
    Sizes,
    Step,
    Training,
    Xor,
    initial_parameters,
)

XOR_ITERATIONS = 10_000


def network(sizes: Sizes, hidden: type[torch.nn.Module]) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for num_in, num_out, w, b in zip(sizes[:-1], sizes[1:], *initial_parameters(sizes), strict=True):
        linear = torch.nn.Linear(num_in, num_out)
        linear.weight.data = torch.from_numpy(w.T.copy())
        linear.bias.data = torch.from_numpy(b.copy())
        layers += [linear, hidden()]
    return torch.nn.Sequential(*layers[:-1])


def new(workload: Training) -> tuple[torch.nn.Sequential, torch.optim.Optimizer]:
    net = network(workload.sizes, {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[workload.hidden])
    optimizer = torch.optim.Adam if workload.optimizer == "adam" else torch.optim.SGD
    return net, optimizer(net.parameters(), lr=workload.learning_rate)


def loss_of(workload: Training, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if workload.classifies:
        return torch.nn.functional.cross_entropy(out, y)
    return torch.nn.functional.mse_loss(out, y)


def training(workload: Training) -> tuple[Callable[[Array, Array], list[Array]], Callable[[], object]]:
    def epoch(
        net: torch.nn.Sequential,
        optimizer: torch.optim.Optimizer,
        x: torch.Tensor,
        y: torch.Tensor,
        order: torch.Tensor,
    ) -> None:
        for i in range(0, len(x), workload.batch_size):
            rows = order[i : i + workload.batch_size]
            loss = loss_of(workload, net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def train_in_order(x: Array, y: Array) -> list[Array]:
        net, optimizer = new(workload)
        epoch(net, optimizer, torch.from_numpy(x), torch.from_numpy(y), torch.arange(len(x)))
        return [p.detach().numpy().T for p in net.parameters() if p.ndim == 2]

    net, optimizer = new(workload)
    x, y = map(torch.from_numpy, workload.data())
    return train_in_order, lambda: epoch(net, optimizer, x, y, torch.randperm(len(x)))


def step(workload: Step) -> tuple[Callable[[Array, Array], list[Array]], Callable[[], object]]:
    net, optimizer = new(workload)
    x, y = map(torch.from_numpy, workload.data())

    def take() -> float:
        loss = loss_of(workload, net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return training(workload)[0], take


def prediction(workload: Prediction) -> Callable[[], torch.Tensor]:
    net = network(workload.sizes, torch.nn.ReLU)
    x = torch.from_numpy(workload.inputs())

    def predict() -> torch.Tensor:
        with torch.inference_mode():
            return torch.softmax(net(x), dim=1)

    return predict


def quantized_prediction(workload: Prediction) -> Callable[[], torch.Tensor]:
    net = network(workload.sizes, torch.nn.ReLU)
    quantized = torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear}, dtype=torch.qint8)
    x = torch.from_numpy(workload.inputs())

    def predict() -> torch.Tensor:
        with torch.inference_mode():
            return torch.softmax(quantized(x), dim=1)

    return predict


def xor(workload: Xor, iterations: int) -> Callable[[], Array]:
    x, y = torch.from_numpy(workload.x), torch.from_numpy(workload.y)

    def train() -> Array:
        net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sigmoid(), torch.nn.Linear(2, 1), torch.nn.Sigmoid())
        for p, values in zip(net.parameters(), workload.initial_parameters(), strict=True):
            p.data = torch.from_numpy(values.T.copy())
        optimizer = torch.optim.SGD(net.parameters(), lr=workload.learning_rate)
        for _ in range(iterations):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()
        outputs: Array = net(x).detach().numpy()
        return outputs

    return train


def digits(workload: Digits) -> Callable[[], torch.Tensor]:
    x, y, x_test, _ = map(torch.from_numpy, workload.data())
    steps = -(-len(x) // workload.batch_size)
    warmup, total = workload.warmup_epochs * steps, workload.epochs * steps

    def train() -> torch.Tensor:
        net = torch.nn.Sequential(
            torch.nn.Linear(784, workload.hidden_size), torch.nn.ReLU(), torch.nn.Linear(workload.hidden_size, 10)
        )
        optimizer = torch.optim.Adam(net.parameters(), lr=workload.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda t: t / warmup if t < warmup else max(0.0, 1 - (t - warmup) / (total - warmup))
        )
        for _ in range(workload.epochs):
            order = torch.randperm(len(x))
            for i in range(0, len(x), workload.batch_size):
                rows = order[i : i + workload.batch_size]
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
                optimizer.step()
                schedule.step()
        with torch.inference_mode():
            outputs: torch.Tensor = net(x_test)
        return outputs

    return train


def regression(workload: Regression) -> Callable[[], tuple[float, Callable[[], Array]]]:
    x, y = map(torch.from_numpy, workload.data())

    def outputs_of(net: torch.nn.Sequential) -> Callable[[], Array]:
        return lambda: net(x).detach().numpy()

    def train_lbfgs() -> tuple[float, Callable[[], Array]]:
        net = network(workload.sizes, torch.nn.Tanh)
        optimizer = torch.optim.LBFGS(net.parameters(), history_size=10, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(net(x), y)
            loss.backward()
            return loss

        for _ in range(workload.max_epochs // 20):  # a step does up to 20 iterations
            loss = optimizer.step(closure)
            if loss < workload.target_loss:
                break
        return loss.item(), outputs_of(net)

    def train_adam() -> tuple[float, Callable[[], Array]]:
        net = network(workload.sizes, torch.nn.Tanh)
        optimizer = torch.optim.Adam(net.parameters(), lr=workload.learning_rate)
        for _ in range(workload.max_epochs):
            order, total = torch.randperm(len(x)), 0.0
            for i in range(0, len(x), workload.batch_size):
                rows = order[i : i + workload.batch_size]
                optimizer.zero_grad()
                loss = torch.nn.functional.mse_loss(net(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            if total / len(x) < workload.target_loss:
                break
        return total / len(x), outputs_of(net)

    if workload.method == "levenberg-marquardt":
        raise NotImplementedError("PyTorch has no Levenberg-Marquardt method")
    return train_lbfgs if workload.method == "lbfgs" else train_adam


def many_networks(workload: ManyNetworks) -> Callable[[], Callable[[], list[Array]]]:
    if workload.together:
        raise NotImplementedError("PyTorch trains one network at a time")
    x, y = map(torch.from_numpy, workload.data())

    def train() -> Callable[[], list[Array]]:
        nets = []
        for _ in range(workload.num_networks):
            num_in, num_hidden, num_out = workload.sizes
            net = torch.nn.Sequential(
                torch.nn.Linear(num_in, num_hidden), torch.nn.Tanh(), torch.nn.Linear(num_hidden, num_out)
            )
            optimizer = torch.optim.Adam(net.parameters(), lr=workload.learning_rate)
            for _ in range(workload.epochs):
                order = torch.randperm(len(x))
                for i in range(0, len(x), workload.batch_size):
                    rows = order[i : i + workload.batch_size]
                    optimizer.zero_grad()
                    torch.nn.functional.mse_loss(net(x[rows]), y[rows]).backward()
                    optimizer.step()
            nets.append(net)
        return lambda: [net(x).detach().numpy() for net in nets]

    return train
