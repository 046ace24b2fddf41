"""Participantes que fazem de tudo ao mesmo tempo, e o autômato que confere cada linha que leem."""

import contextlib
import os
import random
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from automato import Fio
from modelo import Ouvinte
from participante import FECHOU
from test_protocolo import casos

from atendimento.conexao import Conexao
from protocolo import Consulta, Fim, Mensagem, Pausa, Pronto, Tipo, Transferencia, Volta

DOIS = ("Vendas", "Suporte")
MENTIRAS = b"GERENTE\n", b"\xff\n", b"CLIENTE:Compras\n", b"ATENDENTE\n[]\n", b'{"comando":"gerente"}\n', b"C" * 5000
PEDIDOS = Pausa(), Volta(), Transferencia("Vendas"), Transferencia("Suporte"), Fim(), Pronto()
PESOS = {"nunca": [1, 3, 2, 2, 1, 0], "a esmo": [1, 3, 2, 2, 1, 3], "na hora": [0, 0, 2, 2, 1, 0]}  # de cada pedido
CONSULTADA = r"AVISO:(Você é o número|Clientes na fila|Nenhum cliente na fila|Você já está sendo atendido).*"


class Pessoa:
    """Alguém que vive, uma depois da outra, vidas feitas das escolhas de um sorteio."""

    def __init__(self, servidor, numero, semente, vidas):
        self.servidor, self.numero, self.quantas = servidor, numero, vidas
        self.sorte = random.Random(f"{semente} {numero}")
        self.vidas = []  # (o fio, se leu tudo)

    def viver(self):
        for vida in range(self.quantas):
            tipo, em_json = self.sorte.choice((Tipo.CLIENTE, Tipo.CLIENTE, Tipo.ATENDENTE)), self.sorte.random() < 0.5
            self.diz_pronto = self.sorte.choice([*PESOS])
            self.le = self.sorte.random() < 0.9  # um em dez só lê no fim, se ainda houver o que ler
            so_avanca, buffers = not self.servidor.filas.devolver, None if self.le else 4096
            self.fio = Fio(self.servidor, f"P{self.numero}.{vida}", tipo, em_json, so_avanca, buffers)
            leu_tudo, self.ditas = False, 0
            with contextlib.suppress(ConnectionError):  # o servidor corta quem não lê, e quem já recebeu `FIM:`
                leu_tudo = self.uma_vida() and self.le
            self.fio.cru.fecha()
            self.vidas.append((self.fio, leu_tudo))

    def uma_vida(self):
        """Devolve se leu até o fim do fluxo."""
        if not self.entrar():
            return self.ler_ate(FECHOU)
        if self.fio.tipo is Tipo.ATENDENTE and self.diz_pronto == "na hora" and self.le:
            self.fio.cru.envia(self.fio.codificar(Pronto(), Consulta()))
            if self.ler_ate(CONSULTADA):
                return True
            self.fio.chamadas = 0  # agora o servidor sabe
        for _ in range(self.sorte.randrange(3, 20)):
            if self.fio.momento == "intervalo" and self.fio.chamadas == 0:
                self.fio.cru.envia(self.fio.codificar(Pronto()))
            self.sorte.choices((self.falar, self.lixo, self.pedir), [7, 1, 3])[0]()
            if self.le and self.sorte.random() < 0.5:  # uma consulta dá tempo ao tempo: espera-se pela resposta
                self.fio.cru.envia(self.fio.codificar(Consulta()))
                if self.ler_ate(CONSULTADA):
                    return True
        if self.sorte.random() < 0.3:
            self.sorte.choice((self.fio.cru.some, self.fio.cru.fecha))()
            return False
        self.fio.cru.para_de_escrever()
        return self.ler_ate(FECHOU)

    def entrar(self):
        """Devolve se disse a verdade."""
        onde = self.sorte.choice(DOIS if self.fio.tipo is Tipo.CLIENTE else [*DOIS, "Vendas,Suporte", "*"])
        dados = self.fio.entrada(onde if self.servidor.filas.departamentos else "")
        if mente := self.sorte.random() < 0.1:
            dados = self.sorte.choice(MENTIRAS)
            self.fio.em_json = dados.startswith(b"{")
        self.aos_pedacos(dados)
        return not mente

    def aos_pedacos(self, dados):
        while dados:
            quantos = self.sorte.choice((1, 5, 64, len(dados)))
            self.fio.cru.envia(dados[:quantos])
            dados = dados[quantos:]

    def falar(self):
        quantas = self.sorte.choice((1, 1, 1, 2, 2, 9, 9, 300))
        textos = [f"n{numero}" for numero in range(self.ditas, self.ditas + quantas)]
        self.ditas += quantas
        mandar = self.fio.cru.envia if quantas > 9 else self.aos_pedacos
        mandar(self.fio.codificar(Mensagem(self.fio.nome, textos)))

    def lixo(self):
        """Nem comandos nem mensagens numeradas; talvez uma fala em nome de outro."""
        sorteado = self.sorte.randbytes(self.sorte.choice((3, 200))).translate(None, b"n:")
        self.fio.cru.envia(self.sorte.choice((sorteado, b"{}", b"x" * 6000, "[Outro]: é mentira".encode())) + b"\n")

    def pedir(self):
        self.fio.cru.envia(self.fio.codificar(*self.sorte.choices(PEDIDOS, PESOS[self.diz_pronto])))

    def ler_ate(self, forma):
        """Lê até uma linha assim; devolve se o fluxo acabou."""
        while (linha := self.fio.linha()) is not FECHOU:
            if forma is not FECHOU and re.fullmatch(forma, linha):
                return False
        return True


@pytest.mark.parametrize("vidas", [2, pytest.param(300, marks=pytest.mark.demorado)], ids=["rapido", "longo"])
@casos("opcoes", {"como-no-original": {}, "com-tudo-ligado": {"departamentos": DOIS, "devolver": True}})
def test_caos(abrir_servidor, monkeypatch, opcoes, vidas):
    """Cada um só lê o que podia, e tudo o que o ouvinte diz que lhe foi dito, na ordem; no fim não sobra ninguém."""
    semente = os.environ.get("FILA_SEMENTE") or str(random.SystemRandom().randrange(10**9))
    print(f"para repetir os mesmos sorteios: FILA_SEMENTE={semente}")
    monkeypatch.setattr(Conexao, "BUFFER_DE_ENVIO", 4096)  # bytes: quem não lê é notado logo
    ouvinte = Ouvinte()
    servidor = abrir_servidor(**opcoes, ouvinte=ouvinte, prazo_identificacao=1.0, prazo_envio=0.5)
    pessoas = [Pessoa(servidor, numero, semente, vidas) for numero in range(40)]
    with ThreadPoolExecutor(len(pessoas)) as threads:
        list(threads.map(Pessoa.viver, pessoas))
    ultima = servidor.conecta()  # aceita-se por ordem de chegada: depois dela, não falta aceitar ninguém
    ultima.envia("ninguém")
    ultima.le_ate(FECHOU)
    ultima.fecha()
    servidor.espera_que_fechem()
    filas = servidor.filas
    assert not (filas.user_states or filas.fila_clientes or filas.fila_atendentes or filas.online)
    ditas, ouvidas, conversas = {}, {}, {}
    for numero, *_, evento, de, para, texto in ouvinte.ouvido:
        conversas.setdefault(numero, []).append(evento)
        if evento == "mensagem":
            ouvidas.setdefault(para, []).append((de, texto))
            ditas.setdefault(de, []).extend(map(int, re.findall(r"^n(\d+)$", texto)))
    for fio, leu_tudo in (vida for pessoa in pessoas for vida in pessoa.vidas):
        para_ele, dele = ouvidas.get(fio.nome, []), ditas.get(fio.nome, [])
        assert fio.mensagens == (para_ele if leu_tudo else para_ele[: len(fio.mensagens)])
        assert dele == sorted(set(dele)), f"de {fio.nome}, algo se repetiu ou trocou de lugar"
    assert all(eventos == ["inicio", *["mensagem"] * (len(eventos) - 2), "fim"] for eventos in conversas.values())
    assert len(conversas) == filas.conversas > 10
