"""O palco de uma regra: um programa do aluno só para ela, quem se conecta a ele, e o relato do que se viu."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from conferidor.dialogo import Falha, Fita, Participante
from conferidor.processo import NO_WINDOWS, Processo, porta_livre


@dataclass(frozen=True)
class Regra:
    """Uma frase, a seção da página do protocolo de onde vem, e o diálogo que a confere."""

    id: str
    nivel: int
    frase: str
    ancora: str  # a seção de docs/protocolo.md
    dica: str  # o que estudar para consertar
    dialogo: Callable
    no_windows: bool = True  # o que ela faz também se pode fazer lá

    @property
    def ligacao(self) -> str:
        return f"docs/protocolo.md#{self.ancora}"


class Livro:
    """As regras, pela ordem em que estão escritas. `livro.regra(...)` é o decorador que acrescenta uma.

    A dica que não diz o que ler manda ler `estudo`.
    """

    def __init__(self, estudo: str) -> None:
        self.estudo = estudo
        self.regras: dict[str, Regra] = {}

    def regra(self, nivel: int, frase: str, ancora: str, dica: str, no_windows: bool = True) -> Callable:
        """O diálogo que segue confere a frase. O nome da função, com hífens, é o nome da regra."""

        def anotar(dialogo: Callable) -> Callable:
            nome = dialogo.__name__.replace("_", "-")
            completa = dica if "Veja" in dica else f"{dica}. Veja {self.estudo}"
            self.regras[nome] = Regra(nome, nivel, frase, ancora, completa, dialogo, no_windows)
            return dialogo

        return anotar

    def escolher(self, nivel: int | None = None, so: Iterable[str] = ()) -> list[Regra]:
        """As regras até o nível, e dessas só as que começam assim; `ValueError` se um dos começos não é de nenhuma."""
        comecos = tuple(so)
        for comeco in comecos:
            if not any(nome.startswith(comeco) for nome in self.regras):
                raise ValueError(f"nenhuma regra começa por {comeco!r}")
        return [
            regra
            for regra in self.regras.values()
            if (nivel is None or regra.nivel <= nivel)
            and (not comecos or regra.id.startswith(comecos))
            and (regra.no_windows or not NO_WINDOWS)
        ]


@dataclass
class Alvo:
    """O que se confere: o comando do aluno, onde roda, e quanto se espera por ele."""

    comando: str
    pasta: Path | None = None
    prazo: float = 3.0  # segundos de cada passo do diálogo
    subida: float = 10.0  # segundos até aceitar a primeira conexão

    @property
    def duracao(self) -> float:
        """Segundos de uma regra inteira, por mais passos que tenha."""
        return self.subida + 5 * self.prazo


@dataclass
class Resultado:
    """O que se viu de uma regra; sem `falha`, ela vale."""

    regra: Regra
    falha: Falha | None = None
    fita: Sequence[str] = ()
    depois: str = ""  # o que houve com o programa do aluno, se não continuou no ar


class Palco:
    """Um servidor que acaba de subir, e quem se conecta a ele."""

    def __init__(self, alvo: Alvo, porta: int, servidor: Processo) -> None:
        self.alvo = alvo
        self.fita = Fita()
        self.limite = time.monotonic() + alvo.duracao
        self.endereco = ("127.0.0.1", porta)
        self.servidor = servidor
        self.participantes: list[Participante] = []

    def fecha(self) -> None:
        for participante in self.participantes:
            participante.fecha()
        self.servidor.mata()

    # Quem chega. O caminho até o que a regra confere aceita qualquer resposta: um desvio custa uma regra só.

    def conecta(self, nome: str = "alguém", **opcoes) -> Participante:
        """Alguém que ainda não disse nada. Espera o servidor subir tentando esta mesma conexão."""
        ate = min(time.monotonic() + (self.alvo.prazo if self.participantes else self.alvo.subida), self.limite)
        while True:
            try:
                novo = Participante(self.endereco, nome, self.fita, self.alvo.prazo, self.limite, **opcoes)
            except OSError as erro:
                if self.servidor.codigo() is not None:
                    raise Falha("o servidor aceita conexões", self._como_acabou()) from None
                if time.monotonic() > ate:
                    aceita = "o servidor aceita conexões em {}:{}".format(*self.endereco)
                    raise Falha(aceita, self._recusa(erro)) from None
                time.sleep(0.01)
            else:
                self.participantes.append(novo)
                if time.monotonic() > self.limite:
                    raise Falha("todos se conectam", f"{len(self.participantes)}, em {self.alvo.duracao:g} s")
                return novo

    def entra(self, tipo: str, nome: str, **opcoes) -> Participante:
        """Alguém que disse o tipo e o nome, e ainda não leu a resposta."""
        novo = self.conecta(nome if nome.isalpha() and len(nome) < 10 else "alguém", **opcoes)
        novo.envia(tipo)
        novo.pergunta()
        novo.envia(nome)
        return novo

    def cliente(self, nome: str) -> Participante:
        """Um cliente que já sabe que entrou."""
        novo = self.entra("CLIENTE", nome)
        novo.alguma(exigida=False)
        return novo

    def atendente(self, nome: str) -> Participante:
        novo = self.entra("ATENDENTE", nome)
        novo.alguma(exigida=False)
        return novo

    def par(self, cliente: str = "Yuri", atendente: str = "Ana", **opcoes) -> tuple[Participante, Participante]:
        """Um cliente e um atendente que já conversam."""
        a = self.entra("ATENDENTE", atendente, **opcoes)
        a.alguma(exigida=False)
        c = self.entra("CLIENTE", cliente, **opcoes)
        c.ate("CONECTADO:")
        a.ate("CONECTADO:")
        return c, a

    def da_uma_volta(self) -> None:
        """Dá ao servidor tempo de ler o que já lhe foi mandado: alguém se conecta, é recusado e vai embora."""
        alguem = self.conecta()
        alguem.envia("?")
        if alguem.tem_o_que_ler(espera=0.1):  # há servidores que não respondem a isto
            alguem.alguma(exigida=False)
        alguem.fecha()

    # O que houve com o servidor.

    def depois(self) -> str:
        """O que dizer do programa depois da regra, se ele já não estava no ar."""
        return f"o servidor {self._como_acabou()}" if self.servidor.codigo(prazo=0.2) is not None else ""

    def _como_acabou(self) -> str:
        disse = self.servidor.ultima_frase()
        return f"terminou com código {self.servidor.codigo()}" + (f", dizendo: {disse}" if disse else "")

    def _recusa(self, erro: OSError) -> str:
        disse = self.servidor.ultima_frase()
        return (
            f"{'ninguém atende' if isinstance(erro, TimeoutError) else 'a conexão é recusada'}; o programa está rodando"
            + (f" e disse: {disse}" if disse else "")
            + ("" if self.participantes else ". Ele aceita na porta que recebe no lugar de {porta}?")
        )


def com_servidor(alvo: Alvo) -> Palco:
    """Um palco com um servidor novo; `Falha` se o comando não existe."""
    porta = porta_livre()
    return Palco(alvo, porta, Processo(alvo.comando, porta, alvo.pasta))


def conferir_uma(regra: Regra, alvo: Alvo, montar: Callable[[Alvo], Palco] = com_servidor) -> Resultado:
    """Roda uma regra num palco novo. O que ela não esperava vira o relato dela, e não interrompe as outras."""
    with contextlib.ExitStack() as no_fim:
        palco = None
        try:
            palco = montar(alvo)
            no_fim.callback(palco.fecha)
            regra.dialogo(palco)
            return Resultado(regra)
        except Falha as erro:
            falha = erro
        except Exception as erro:  # o conferidor nunca mostra um traceback por causa do programa do aluno
            falha = Falha("o diálogo vai até o fim", f"{type(erro).__name__}: {erro}")
        return Resultado(regra, falha, palco.fita.linhas, palco.depois()) if palco else Resultado(regra, falha)


def conferir(
    regras: Sequence[Regra], alvo: Alvo, montar: Callable[[Alvo], Palco] = com_servidor, juntas: int = 12
) -> Iterator[Resultado]:
    """Roda as regras, algumas ao mesmo tempo (cada uma espera quase só pela rede), e dá os resultados pela ordem."""
    alvo = replace(alvo, subida=3 * alvo.subida)  # juntos, numa máquina lenta, os programas demoram mais
    acabou = threading.Event()
    with ThreadPoolExecutor(juntas) as threads, contextlib.ExitStack() as no_fim:

        def montar_e_lembrar(alvo: Alvo) -> Palco:
            palco = montar(alvo)
            no_fim.callback(palco.fecha)  # quem interrompe não espera pelas que estão em curso
            if acabou.is_set():  # interrompeu enquanto este se montava
                palco.fecha()
            return palco

        try:
            yield from threads.map(lambda regra: conferir_uma(regra, alvo, montar_e_lembrar), regras)
        finally:
            acabou.set()
