"""Vigias: as estruturas do servidor que recusam quem mexe nelas sem a trava, ou sem a vez, que as guarda."""

import threading
from collections.abc import Iterable

from atendimento.conexao import Conexao
from atendimento.filas import Filas

_com_vezes = threading.local()  # quantas vezes a thread tem na mão


class TravaVigiada:
    """Uma `Lock` que sabe quem a tem. A que não é uma vez recusa quem a pede com uma vez na mão: a ordem é a outra."""

    def __init__(self, vez: bool = False) -> None:
        self._trava = threading.Lock()
        self._vez = vez
        self.dona: int | None = None  # a identidade da thread que a tem

    @property
    def minha(self) -> bool:
        return self.dona == threading.get_ident()

    def acquire(self) -> None:
        vezes = getattr(_com_vezes, "quantas", 0)
        assert not self.minha, "não é reentrante"
        assert self._vez or not vezes, "pediu a trava com uma vez na mão"
        self._trava.acquire()
        self.dona = threading.get_ident()
        _com_vezes.quantas = vezes + self._vez

    def release(self) -> None:
        assert self.minha, "soltou o que não tinha"
        self.dona = None
        _com_vezes.quantas = getattr(_com_vezes, "quantas", 0) - self._vez
        self._trava.release()

    def locked(self) -> bool:
        return self._trava.locked()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class CondicaoVigiada(threading.Condition):
    """Uma `Condition` que sabe se é desta thread."""

    @property
    def minha(self) -> bool:
        return self._is_owned()


def vigiada(tipo: type, metodos: Iterable[str], trava: TravaVigiada | CondicaoVigiada) -> type:
    """Uma subclasse de `tipo` em que cada um dos `metodos` exige a trava."""

    def exigir(nome: str):
        def metodo(self, *args):
            assert trava.minha, f"{tipo.__name__}.{nome} sem a trava"
            return getattr(tipo, nome)(self, *args)

        return metodo

    return type(f"{tipo.__name__}_vigiado", (tipo,), {nome: exigir(nome) for nome in metodos})


class FilasVigiadas(Filas):
    """Filas cujas listas e estados só quem tem a trava lê e muda. O que o teste olha de fora, olha por uma cópia."""

    def __init__(self, *args, **opcoes) -> None:
        trava = TravaVigiada()
        super().__init__(*args, trava=trava, **opcoes)
        lista = vigiada(list, ("append", "insert", "remove", "index", "clear", "__delitem__"), trava)
        self.fila_clientes, self.fila_atendentes = lista(), lista()
        self.user_states = vigiada(dict, ("get", "pop", "items", "clear", "__getitem__", "__setitem__"), trava)()
        self.online = vigiada(set, ("add", "discard", "clear"), trava)()


class ConexaoVigiada(Conexao):
    """Uma conexão em que só quem tem a vez põe na caixa, envia, muda a situação ou fecha."""

    def __init__(self, *args, **opcoes) -> None:
        super().__init__(*args, **opcoes)
        self.vez = TravaVigiada(vez=True)

    def __setattr__(self, nome: str, valor: object) -> None:
        if nome in ("caixa", "situacao", "enviados") and isinstance(getattr(self, "vez", None), TravaVigiada):
            assert self.vez.minha, f"{nome} sem a vez"
        super().__setattr__(nome, valor)

    def por_na_caixa(self, comandos) -> None:
        assert self.vez.minha, "pôs na caixa sem a vez"
        super().por_na_caixa(comandos)

    def escoar(self) -> None:
        assert self.vez.minha, "escoou sem a vez"
        super().escoar()

    def fechar(self) -> None:
        assert self.vez.minha, "fechou sem a vez"
        super().fechar()
